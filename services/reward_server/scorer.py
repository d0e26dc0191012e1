"""From a request's groups to their scores: read, embed what has to be compared, compute, write."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.reward_server import agreement, wire
from services.reward_server.agreement import Doubles
from services.reward_server.batching import EmbeddingBatcher
from services.reward_server.configs import ConfigRegistry
from services.reward_server.expressions import Budget, ExpressionComparer
from services.reward_server.fingerprint import fingerprint
from services.reward_server.parsing import Flaw, ParsedRollout
from services.reward_server.reading import ReadGroup, read_group
from services.reward_server.scoring_config import ScoringConfig
from services.reward_server.templates import specificity
from services.reward_server.trajectories import Floats, JudgedCamp, background_of, judge

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
    ) -> wire.ScoreResponse:
        """Scores every group of `request`; `progress`, in [0, 1], matters to the endpoint `solver` only.

        Raises MalformedRequest for an unknown preset, ConfigNotSaved, and what `EmbeddingBatcher.embed` raises.
        """
        config = self._configs.use(request.config)
        budget = Budget()
        groups = [await read_group(group, config, self._comparer, budget) for group in request.groups]
        if endpoint == "proposer":
            scored = [_score_group(group, config, request.detail) for group in groups]
        else:
            judged: Sequence[Sequence[JudgedCamp]] = [()] * len(groups)
            if endpoint != "outcome":
                judged = await self._judge_steps(groups, config)
            scored = [
                _score_group(
                    group, config, request.detail, _components(endpoint, group, camps, config, progress)
                )
                for group, camps in zip(groups, judged, strict=True)
            ]
        return wire.ScoreResponse(
            request_id=request_id,
            fingerprint=fingerprint(config, self._batcher.embedder.identity),
            unit=config.unit,
            groups=scored,
        )

    async def _judge_steps(
        self, groups: Sequence[ReadGroup], config: ScoringConfig
    ) -> list[list[JudgedCamp]]:
        """The steps of every group's camps, embedded in one go and judged."""
        texts = [step for group in groups for camp in group.camps for steps in camp.steps for step in steps]
        rows = await self._batcher.embed(texts)
        lengths = [sum(map(len, camp.steps)) for group in groups for camp in group.camps]
        ends = iter(np.cumsum(lengths).tolist())
        spans = [
            [
                slice(end - sum(map(len, camp.steps)), end)
                for camp, end in zip(group.camps, ends, strict=False)
            ]
            for group in groups
        ]
        if config.unit == "group" and config.alignment == "index":
            return [
                _judge_group(group, camps, rows, config) for group, camps in zip(groups, spans, strict=True)
            ]
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
            else:
                await asyncio.sleep(0)  # others' requests go on meanwhile
            judged.append(_judge_group(group, camps, rows, config, shared, factors))
        return judged


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


def _components(
    endpoint: Endpoint,
    group: ReadGroup,
    judged: Sequence[JudgedCamp],
    config: ScoringConfig,
    progress: float,
) -> _Components:
    shares = np.array([group.effective_share(rollout.answer) for rollout in group.rollouts])
    words = np.array([rollout.words for rollout in group.rollouts], np.float64)
    outcome = agreement.outcome_rewards(shares, words, config)
    if endpoint == "outcome":
        return _Components(outcome, outcome, None, ())
    trajectory = np.zeros(len(group.rollouts))
    for each in judged:
        trajectory[list(each.camp.members)] = each.rewards / group.tied
    if endpoint == "trajectory":
        return _Components(trajectory, None, trajectory, judged)
    lambda_t = agreement.step_weight(progress, config)
    return _Components(agreement.solver_rewards(outcome, trajectory, lambda_t), outcome, trajectory, judged)


def _score_group(
    group: ReadGroup,
    config: ScoringConfig,
    detail: Literal["full", "rewards"],
    components: _Components | None = None,
) -> wire.ScoredGroup:
    """One group's answer, with its rollouts if there are components for them."""
    vote = group.vote
    shares = np.array([count / vote.size for _, count in vote.clusters])
    entropy_nats = agreement.answer_entropy_nats(shares) if vote.clusters else None
    fields: dict[str, object] = {
        "id": group.sent.id,
        "status": "ok" if vote.clusters else "invalid",
        "dominant_answer": vote.dominant,
        "tie": vote.tie,
        "dominant_share": vote.share(vote.dominant),
        "density": agreement.density(group.effective_share(vote.dominant), config),
        "entropy_nats": entropy_nats,
        "proposer_reward": 0.0
        if entropy_nats is None
        else agreement.proposer_reward(entropy_nats, vote.size, config),
    }
    if group.not_compared:
        fields["not_compared"] = list(group.not_compared)
    if detail == "full":
        fields["clusters"] = [_cluster(group, answer, count) for answer, count in vote.clusters]
    if components is not None:
        fields["rollouts"] = _score_rollouts(group, components, config, detail)
    return wire.ScoredGroup.model_validate(fields)


def _cluster(group: ReadGroup, answer: str, count: int) -> wire.Cluster:
    if group.members is None:
        return wire.Cluster(answer=answer, count=count)
    members = [
        wire.Member(answer=member.answer, count=member.count, rules=list(member.rules))
        for member in group.members[answer]
    ]
    return wire.Cluster(answer=answer, count=count, members=members)


def _score_rollouts(
    group: ReadGroup, components: _Components, config: ScoringConfig, detail: Literal["full", "rewards"]
) -> list[wire.ScoredRollout]:
    judged_in = {
        index: (judged, member)
        for judged in components.judged
        for member, index in enumerate(judged.camp.members)
    }
    scored = []
    for index, (sent, parsed) in enumerate(zip(group.sent.rollouts, group.rollouts, strict=True)):
        reward = _value(components.reward, index)
        trajectory = _value(components.trajectory, index)
        fields: dict[str, object] = {
            "id": sent.id,
            "status": "invalid" if parsed.flaw else "abstain" if reward is None else "ok",
            "reason": _reason(parsed.flaw, config)
            if parsed.flaw
            else _NOT_JUDGED
            if reward is None
            else None,
            "answer": parsed.answer,
            "reward": reward,
            "outcome": _value(components.outcome, index),
            "trajectory": trajectory,
        }
        if detail == "full":
            fields["steps"] = _score_steps(parsed, judged_in.get(index), config)
        scored.append(wire.ScoredRollout.model_validate(fields))
    return scored


def _score_steps(
    parsed: ParsedRollout, judged: tuple[JudgedCamp, int] | None, config: ScoringConfig
) -> list[wire.Step]:
    if judged is None:
        return [wire.Step(text=step, cosine=None, weight=0.0) for step in parsed.steps]
    steps, member = judged[0].steps, judged[1]
    if not config.explains_steps:
        return [
            wire.Step(
                text=step,
                cosine=_value(steps.cosines[member], position),
                weight=float(steps.weights[member, position]),
            )
            for position, step in enumerate(parsed.steps)
        ]
    return [
        wire.Step(
            text=step,
            cosine=_value(steps.cosines[member], position),
            weight=float(steps.weights[member, position]),
            credit=float(steps.credits[member, position]),
            place=int(steps.places[member, position]) if steps.places[member, position] >= 0 else None,
        )
        for position, step in enumerate(parsed.steps)
    ]


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


def _value(rewards: Doubles | None, index: int) -> float | None:
    """A number, or None where there is none or it could not be computed."""
    return None if rewards is None or np.isnan(rewards[index]) else float(rewards[index])
