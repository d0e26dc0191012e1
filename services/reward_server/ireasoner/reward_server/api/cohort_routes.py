"""The endpoints for frameworks that post one rollout per call; `cohorts.cohort` makes groups of the calls."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Depends, Query, Request

from ireasoner.reward_server import wire
from ireasoner.reward_server.api.json_body import ForeignRoute
from ireasoner.reward_server.api.limits import Limits, check_size
from ireasoner.reward_server.api.problems import documented
from ireasoner.reward_server.api.query_parameters import refuse_unknown_parameters
from ireasoner.reward_server.api.routes import SCORING_ERRORS, while_connected
from ireasoner.reward_server.api.tokens import turns_of
from ireasoner.reward_server.cohorts.asked import UNKNOWN, Asked, AskedQuestions, asked
from ireasoner.reward_server.cohorts.cohort import Cohorts
from ireasoner.reward_server.cohorts.cohort_wire import (
    TASK_ANSWERS,
    CohortKey,
    OpenRLHFAnswer,
    OpenRLHFRequest,
    RemoteAnswer,
    RemoteRequest,
    VerifyAnswer,
    VerifyRequest,
    config_of,
    output_text,
    prompt_keys,
    response_of,
    rollout_answers,
)
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.errors import MalformedRequest, NotJudged, ServiceError
from ireasoner.reward_server.ledger.recorder import Recorder, Scored
from ireasoner.reward_server.memory import Memory
from ireasoner.reward_server.observability.metrics import Metrics
from ireasoner.reward_server.scoring.registry import SHARED
from ireasoner.reward_server.scoring.response import Json, written
from ireasoner.reward_server.scoring.scorer import Caller as ScoringCaller
from ireasoner.reward_server.scoring_config import ConfigOverrides, as_json

router = APIRouter(route_class=ForeignRoute, dependencies=[Depends(refuse_unknown_parameters)])

COHORT_PROBLEMS = documented(*SCORING_ERRORS, NotJudged)
RETRY_S = 0.2
"""Seconds between two tries to score a cohort."""


class CohortScoring:
    """Scores cohorts; while the engine cannot score, it waits."""

    def __init__(
        self, engine: Engine, metrics: Metrics, memory: Memory, recorder: Recorder | None = None
    ) -> None:
        self.asked = AskedQuestions()
        self._engine = engine
        self._metrics = metrics
        self._memory = memory
        self._recorder = recorder

    async def __call__(self, key: CohortKey, texts: Sequence[str], until_s: float) -> list[RemoteAnswer]:
        """The answers to a cohort's rollouts, in order.

        Retryable errors, such as an embedder that is still loading, are retried until `until_s`: the frameworks
        themselves give up, and end their run, after a few tries.
        """
        request = _one_group(
            texts, ConfigOverrides.model_validate_json(key.config), self.asked.of(key), key.run
        )
        while True:
            try:
                with self._memory.claim() as claim:
                    caller = ScoringCaller(
                        uuid.uuid4().hex,
                        SHARED,
                        claim,
                        turns=turns_of(key.experiment),
                        wants_full=self._recorder is not None,
                    )
                    scores = await self._engine.scorer.score("solver", request, key.progress, caller)
                break
            except ServiceError as error:
                if not error.retryable or time.monotonic() + RETRY_S > until_s:
                    raise
            await asyncio.sleep(RETRY_S)
        self._metrics.scored(scores["groups"], key.experiment, key.config_label)
        if self._recorder is not None:
            self._record(self._recorder, key, request, scores)
        answers = rollout_answers(scores["groups"][0], key.group_size)
        judged = [answer for answer in answers if answer is not None]
        if len(judged) < len(answers):
            raise NotJudged("no rollout of the group could be judged")
        return judged

    def _record(self, recorder: Recorder, key: CohortKey, request: wire.ScoreRequest, scores: Json) -> None:
        """Records a cohort as if its group had come in one request."""
        scored = Scored(
            experiment=key.experiment,
            endpoint="solver",
            progress=key.progress,
            config_label=key.config_label,
            config=key.config,
            embedder=self._engine.scorer.embedder,
            groups=1,
        )
        sent = request.model_dump_json(include={"groups", "source"}, exclude_none=True)
        recorder.record(scored, sent.encode(), written(scores))


class _Caller:
    """The URL's parameters of a call, and the way into its cohort."""

    def __init__(
        self,
        request: Request,
        group_size: Annotated[
            int | None,
            Query(ge=1, description="Rollouts per prompt; the protocols do not send it."),
        ] = None,
        deadline_s: Annotated[
            float,
            Query(
                ge=1,
                le=3600,
                description="Seconds until each call is answered; keep it below the client's timeout.",
            ),
        ] = 100.0,
        config: Annotated[
            str, Query(description="A config's name, or a JSON object of overrides.")
        ] = "paper",
        progress: Annotated[float, Query(ge=0, le=1, description="Progress of the training, 0 to 1.")] = 1.0,
        run: Annotated[
            str, Query(max_length=256, description="Any name; separates runs that share prompts.")
        ] = "",
    ) -> None:
        self._request = request
        self._group_size = group_size
        self._deadline_s = deadline_s
        overrides = config_of(config)
        configs = cast(Engine, request.app.state.engine).configs
        self._config = configs.use(overrides, request.state.namespace)
        self._config_label = overrides.config_label
        self._progress = progress
        self._run = run

    def key(
        self, protocol: Literal["openrlhf", "remote", "verify"], prompt: str, group_size: object = None
    ) -> CohortKey:
        """The key of a call; `group_size` is the body's, used if the URL has none."""
        size = self._group_size or group_size
        most = cast(Limits, self._request.app.state.limits).max_rollouts
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
            reason = f"the URL must give the number of rollouts per prompt, 1 to {most}: ?group_size=8"
            raise MalformedRequest.at("group_size", reason)
        return CohortKey(
            protocol,
            self._request.state.experiment,
            self._run,
            prompt,
            size,
            as_json(self._config),
            self._config_label,
            self._progress,
        )

    async def rewards(self, rollouts: Sequence[tuple[CohortKey, str, Asked]]) -> list[RemoteAnswer]:
        """The answers to the rollouts of one call, each given with its key and its question.

        Raises:
            CallerGone: The caller has closed the connection.
        """
        state = self._request.app.state
        check_size(_one_group([text for _, text, _ in rollouts], ConfigOverrides()), state.limits)
        cohorts = cast(Cohorts[CohortKey, RemoteAnswer], state.cohorts)
        questions = cast(CohortScoring, state.cohort_scoring).asked
        with ExitStack() as visits:
            waits = []
            for key, text, question in rollouts:
                visits.enter_context(questions.visit(key, question))
                waits.append(visits.enter_context(cohorts.visit(key, text, self._deadline_s)))
            return await while_connected(self._request, asyncio.gather(*(wait() for wait in waits)))


Caller = Annotated[_Caller, Depends()]


def _one_group(
    texts: Sequence[str], config: ConfigOverrides, question: Asked = UNKNOWN, run: str = ""
) -> wire.ScoreRequest:
    rollouts = [wire.Rollout(id=str(index), text=text) for index, text in enumerate(texts)]
    group = wire.Group(id="cohort", rollouts=rollouts, question=question.question, labels=question.labels)
    return wire.ScoreRequest(groups=[group], config=config, detail="rewards", source=run or None)


@router.post("/cohort/openrlhf", responses=COHORT_PROBLEMS)
async def cohort_openrlhf(body: OpenRLHFRequest, caller: Caller) -> OpenRLHFAnswer:
    """OpenRLHF's `--reward.remote_url`: waits for the other rollouts of the prompt and scores them together."""
    count = len(body.query)
    if len(body.prompts) != count or len(body.labels) not in (0, count):
        raise MalformedRequest.at(
            "body", f"{count} queries, {len(body.prompts)} prompts and {len(body.labels)} labels"
        )
    rollouts = []
    for index, shared in enumerate(prompt_keys(body)):
        text = response_of(body.query[index], body.prompts[index], f"query[{index}]")
        question = asked(body.prompts[index], *body.labels[index : index + 1])
        rollouts.append((caller.key("openrlhf", shared), text, question))
    answers = await caller.rewards(rollouts)
    rewards = [answer.reward for answer in answers]
    logs = {
        name: [getattr(answer, name) for answer in answers]
        for name in RemoteAnswer.model_fields
        if name != "reward"
    }
    return OpenRLHFAnswer(rewards=rewards, scores=rewards, extra_logs=logs)


@router.post("/cohort/remote", responses=COHORT_PROBLEMS)
async def cohort_remote(
    body: RemoteRequest,
    caller: Caller,
    answer: Annotated[
        Literal["full", "number"],
        Query(description="`number` answers with the reward alone, for clients that read no key."),
    ] = "full",
) -> RemoteAnswer | float:
    """slime's `--rm-type remote_rm`: waits for the other rollouts of the prompt and scores them together."""
    [shared] = prompt_keys(body)
    question = asked(body.prompt, body.label)
    scored = (await caller.rewards([(caller.key("remote", shared), body.response, question)]))[0]
    return scored.reward if answer == "number" else scored


@router.post("/verify", responses=COHORT_PROBLEMS)
async def verify(body: VerifyRequest, caller: Caller) -> VerifyAnswer:
    """NeMo-Gym's `/verify`: waits for the other rollouts of the task and scores them together.

    Rollouts of one task have the same `prompt_id`, else the same `_ng_task_index`, else the same input and label.
    NeMo-Gym cannot put a query into this URL, so a row of the data set may carry `group_size`.
    """
    sent = body.model_extra or {}
    [shared] = prompt_keys(body)
    key = caller.key("verify", shared, sent.get("group_size"))
    question = asked(body.responses_create_params.get("input"), *(sent.get(name) for name in TASK_ANSWERS))
    scored = (await caller.rewards([(key, output_text(body.response), question)]))[0]
    numbers = {f"reward_{name}": value for name, value in scored.model_dump().items() if name != "reward"}
    return VerifyAnswer.model_validate({**body.model_dump(), **numbers, "reward": scored.reward})
