"""From a request's groups to their scores: read, embed what has to be compared, compute, write."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise, starmap
from typing import Any, Literal

import numpy as np
import orjson

from ireasoner.reward_server import wire
from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.formulas import Doubles
from ireasoner.reward_server.agreement.templates import specificity
from ireasoner.reward_server.agreement.trajectories import Floats, JudgedCamp, background_of, judge
from ireasoner.reward_server.answers.formulas import ExpressionComparer
from ireasoner.reward_server.embedding.batching import EmbeddingBatcher
from ireasoner.reward_server.parsing.rollout import Flaw
from ireasoner.reward_server.scoring.fingerprint import fingerprint
from ireasoner.reward_server.scoring.pace import Pace
from ireasoner.reward_server.scoring.read_group import ReadGroup, read_group
from ireasoner.reward_server.scoring.registry import ConfigRegistry
from ireasoner.reward_server.scoring_config import ScoringConfig

Answer = dict[str, Any]
"""Part of an answer, as JSON has it: pydantic would take longer to build it than the formulas to compute it."""
Endpoint = Literal["outcome", "trajectory", "solver", "proposer"]

_NOT_JUDGED = "a step of it has no embedding"


@dataclass(frozen=True, slots=True)
class _Components:
    """A group's rewards, [N] each, None where the endpoint does not compute them, and its judged steps."""

    reward: Doubles
    outcome: Doubles | None
    trajectory: Doubles | None
    judged: Sequence[JudgedCamp]


class Scorer:
    """Scores groups. Each group's scores depend on that group, the config and the embedder alone.

    Only where the config makes the request the unit of scoring do they depend on the request's other groups.
    """

    def __init__(self, batcher: EmbeddingBatcher, configs: ConfigRegistry) -> None:
        self._batcher = batcher
        self._configs = configs
        self._comparer = ExpressionComparer()

    async def stop(self) -> None:
        """Ends the process that formulas are compared in."""
        await self._comparer.stop()

    async def score(
        self, endpoint: Endpoint, request: wire.ScoreRequest, progress: float, request_id: str
    ) -> Answer:
        """Scores every group of `request`; gives what `wire.ScoreResponse` describes.

        `progress`, in [0, 1], matters to the endpoint `solver` only.

        Raises MalformedRequest for an unknown preset, ConfigNotSaved, FormulasUnavailable, and what
        `EmbeddingBatcher.embed` raises.
        """
        config = self._configs.use(request.config)
        pace = Pace()
        groups = [await read_group(group, config, self._comparer, pace) for group in request.groups]
        judged: Sequence[Sequence[JudgedCamp]] = [()] * len(groups)
        if endpoint in ("trajectory", "solver"):
            judged = await self._judge_steps(groups, config, pace)
        scored = []
        for group, outcome, camps in zip(groups, _outcomes(groups, config), judged, strict=True):
            if pace.is_due:
                await pace.rest()
            components = (
                None
                if endpoint == "proposer"
                else _components(endpoint, group, outcome, camps, config, progress)
            )
            scored.append(_score_group(group, config, request.detail, components))
        return {
            "request_id": request_id,
            "fingerprint": fingerprint(config, self._batcher.backend.identity),
            "unit": config.unit,
            "groups": scored,
        }

    async def _judge_steps(
        self, groups: Sequence[ReadGroup], config: ScoringConfig, pace: Pace
    ) -> list[list[JudgedCamp]]:
        """The steps of every group's camps, embedded in one go and judged."""
        texts = [group.judged_steps for group in groups]
        known = await self._batcher.embed(chain.from_iterable(texts))
        if config.unit == "request":
            return await _judge_together(
                groups, known.stacked(list(chain.from_iterable(texts))), config, pace
            )
        judged = []
        for group, steps in zip(groups, texts, strict=True):
            if pace.is_due:
                await pace.rest()
            judged.append(_judge_group(group, _camp_spans(group, 0), known.stacked(steps), config))
        return judged


async def _judge_together(
    groups: Sequence[ReadGroup], rows: Floats, config: ScoringConfig, pace: Pace
) -> list[list[JudgedCamp]]:
    """Judges groups that are compared with each other; `rows` are those of all their steps."""
    starts = accumulate((len(group.judged_steps) for group in groups), initial=0)
    spans = [_camp_spans(group, start) for group, start in zip(groups, starts, strict=False)]
    wholes = [slice(camps[0].start, camps[-1].stop) if camps else slice(0, 0) for camps in spans]
    shared = background_of(rows) if config.centring == "request" else None
    judged = []
    for number, (group, camps) in enumerate(zip(groups, spans, strict=True)):
        factors = None
        if config.template_guard:
            own = [
                slice(camp_span.start + span.start, camp_span.start + span.stop)
                for camp, camp_span in zip(group.camps, camps, strict=True)
                for span in camp.spans
            ]
            factors = await asyncio.to_thread(specificity, rows, own, number, wholes, config)
        elif pace.is_due:
            await pace.rest()
        judged.append(_judge_group(group, camps, rows, config, shared, factors))
    return judged


def _camp_spans(group: ReadGroup, start: int) -> list[slice]:
    """Where the steps of each camp stand in a row that has those of the group from `start`."""
    ends = accumulate((sum(map(len, camp.steps)) for camp in group.camps), initial=start)
    return list(starmap(slice, pairwise(ends)))


def _judge_group(
    group: ReadGroup,
    spans: Sequence[slice],
    rows: Floats,
    config: ScoringConfig,
    shared: Doubles | None = None,
    factors: Doubles | None = None,
) -> list[JudgedCamp]:
    """Judges each camp of a group, whose steps' rows are `spans` of `rows`."""
    if not spans:
        return []
    first = spans[0].start
    background = background_of(rows[first : spans[-1].stop]) if config.centring == "group" else shared
    return [
        judge(
            camp,
            rows[span],
            agreement.density(group.effective_share(group.rollouts[camp.members[0]].answer), config),
            config,
            background=background,
            specificity=None if factors is None else factors[span.start - first : span.stop - first],
        )
        for camp, span in zip(group.camps, spans, strict=True)
    ]


def _outcomes(groups: Sequence[ReadGroup], config: ScoringConfig) -> Iterator[Doubles]:
    """The outcome rewards of each group, [N], computed in one go."""
    shares = np.array([share for group in groups for share in group.effective_shares()])
    words = np.array([rollout.words for group in groups for rollout in group.rollouts], np.float64)
    rewards = agreement.outcome_rewards(shares, words, config)
    for start, end in pairwise(accumulate((len(group.rollouts) for group in groups), initial=0)):
        yield rewards[start:end]


def _components(
    endpoint: Endpoint,
    group: ReadGroup,
    outcome: Doubles,
    judged: Sequence[JudgedCamp],
    config: ScoringConfig,
    progress: float,
) -> _Components:
    if endpoint == "outcome":
        return _Components(outcome, outcome, None, ())
    trajectory = np.zeros(len(group.rollouts))
    for each in judged:
        trajectory[list(each.camp.members)] = each.rewards / group.tied
    if endpoint == "trajectory":
        return _Components(trajectory, None, trajectory, judged)
    lambda_t = agreement.step_weight(progress, config)
    return _Components(agreement.solver_rewards(outcome, trajectory, lambda_t), outcome, trajectory, judged)


def written(answer: Answer) -> bytes:
    """An answer as JSON."""
    return orjson.dumps(answer)


def _score_group(
    group: ReadGroup,
    config: ScoringConfig,
    detail: Literal["full", "rewards"],
    components: _Components | None = None,
) -> Answer:
    """One group's answer, with its rollouts if there are components for them."""
    vote = group.vote
    shares = np.array([count / vote.size for _, count in vote.clusters])
    entropy_nats = agreement.answer_entropy_nats(shares) if vote.clusters else None
    answer: Answer = {
        "id": group.sent.id,
        "status": "ok" if vote.clusters else "invalid",
        "dominant_answer": vote.dominant,
        "tie": vote.tied > 1,
        "dominant_share": vote.share(vote.dominant),
        "density": _finite(agreement.density(group.effective_share(vote.dominant), config)),
        "entropy_nats": None if entropy_nats is None else _finite(entropy_nats),
        "proposer_reward": 0.0
        if entropy_nats is None
        else _finite(agreement.proposer_reward(entropy_nats, vote.size, config)),
    }
    if detail == "full":
        answer["clusters"] = [_cluster(group, name, count) for name, count in vote.clusters]
    if group.not_compared:
        answer["not_compared"] = list(group.not_compared)
    if components is not None:
        answer["rollouts"] = _score_rollouts(group, components, config, detail)
    return answer


def _cluster(group: ReadGroup, answer: str, count: int) -> Answer:
    if group.members is None:
        return {"answer": answer, "count": count}
    members = [
        {"answer": member.answer, "count": member.count, "rules": list(member.rules)}
        for member in group.members[answer]
    ]
    return {"answer": answer, "count": count, "members": members}


def _score_rollouts(
    group: ReadGroup, components: _Components, config: ScoringConfig, detail: Literal["full", "rewards"]
) -> list[Answer]:
    size = len(group.rollouts)
    rewards = _values(components.reward)
    outcomes = [None] * size if components.outcome is None else _values(components.outcome)
    trajectories = [None] * size if components.trajectory is None else _values(components.trajectory)
    scored: list[Answer] = [
        {
            "id": sent.id,
            "status": "invalid" if parsed.flaw else "abstain" if reward is None else "ok",
            "reason": _reason(parsed.flaw, config)
            if parsed.flaw
            else _NOT_JUDGED
            if reward is None
            else None,
            "answer": parsed.answer,
            "reward": reward,
            "outcome": outcome,
            "trajectory": trajectory,
        }
        for sent, parsed, reward, outcome, trajectory in zip(
            group.sent.rollouts, group.rollouts, rewards, outcomes, trajectories, strict=True
        )
    ]
    if detail == "full":
        for judged in components.judged:
            for index, steps in zip(judged.camp.members, _judged_steps(judged, config), strict=True):
                scored[index]["steps"] = steps
        for each, parsed in zip(scored, group.rollouts, strict=True):
            if "steps" not in each:
                each["steps"] = [{"text": step, "cosine": None, "weight": 0.0} for step in parsed.steps]
    return scored


def _judged_steps(judged: JudgedCamp, config: ScoringConfig) -> Iterator[list[Answer]]:
    """The steps of each rollout of a camp, as they are answered."""
    steps = judged.steps
    texts = chain.from_iterable(judged.camp.steps)
    columns = (texts, _values(steps.cosines), steps.weights.tolist())
    if config.explains_steps:
        places = [place if place >= 0 else None for place in steps.places.tolist()]
        answers = [
            {"text": text, "cosine": cosine, "weight": weight, "credit": credit, "place": place}
            for text, cosine, weight, credit, place in zip(
                *columns, steps.credits.tolist(), places, strict=True
            )
        ]
    else:
        answers = [
            {"text": text, "cosine": cosine, "weight": weight}
            for text, cosine, weight in zip(*columns, strict=True)
        ]
    for span in judged.camp.spans:
        yield answers[span]


def _reason(flaw: Flaw, config: ScoringConfig) -> str:
    """Why a rollout is invalid, in the words of the config that it was read by."""
    tag = config.answer_tag
    place = {"tag": f"<{tag}>", "boxed": "\\boxed{}", "any": f"<{tag}>, \\boxed{{}} or stated answer"}
    closing = f"</{tag}>" if config.answer_from == "tag" else "closing tag or brace"
    reasons: dict[Flaw, str] = {
        "no_answer": f"there is no {place[config.answer_from]}",
        "empty_answer": "the answer is empty",
        "answer_not_closed": f"the answer is cut off: there is no {closing}",
    }
    return reasons[flaw]


def _values(numbers: Doubles) -> list[float | None]:
    """The numbers of a row, None where one could not be computed; raises ValueError for an infinite one."""
    if np.isinf(numbers).any():
        raise ValueError(f"a reward is infinite: {numbers}")
    return [None if number != number else number for number in numbers.tolist()]


def _finite(number: float) -> float:
    """The number itself; raises ValueError for one that must never leave."""
    if not math.isfinite(number):
        raise ValueError(f"a number of a group is {number}")
    return number
