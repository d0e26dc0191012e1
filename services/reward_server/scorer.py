"""From a request's groups to their scores: parse, vote, embed what has to be compared, compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.reward_server import agreement, wire
from services.reward_server.agreement import Doubles, StepAgreement
from services.reward_server.batching import EmbeddingBatcher
from services.reward_server.errors import MalformedRequest
from services.reward_server.fingerprint import fingerprint
from services.reward_server.parsing import ParsedRollout, parse_text, parsed_before
from services.reward_server.scoring_config import PRESETS, ConfigOverrides, ScoringConfig
from services.reward_server.votes import Vote, count_votes

Endpoint = Literal["outcome", "trajectory", "solver", "proposer"]

_FLAWS = {
    "no_answer": "there is no <answer>",
    "empty_answer": "the answer is empty",
    "answer_not_closed": "the answer is cut off: there is no </answer>",
}
_NOT_JUDGED = "a step of it has no embedding"


@dataclass(frozen=True, slots=True)
class _ReadGroup:
    """One group as it was read: its rollouts, its votes, and which rollouts gave the dominant answer."""

    sent: wire.Group
    rollouts: list[ParsedRollout]
    vote: Vote
    dominant: list[int]


@dataclass(frozen=True, slots=True)
class _Components:
    """A group's rewards, [N] each, None where the endpoint does not compute them, and its step agreement."""

    reward: Doubles
    outcome: Doubles | None
    trajectory: Doubles | None
    steps: StepAgreement | None


class Scorer:
    """Scores groups. Each group's scores depend on that group, the config and the embedder alone."""

    def __init__(self, batcher: EmbeddingBatcher) -> None:
        self._batcher = batcher

    async def score(
        self, endpoint: Endpoint, request: wire.ScoreRequest, progress: float, request_id: str
    ) -> wire.ScoreResponse:
        """Scores every group of `request`; `progress`, in [0, 1], matters to the endpoint `solver` only.

        Raises MalformedRequest for an unknown preset, and what `EmbeddingBatcher.embed` raises.
        """
        config = resolve(request.config)
        groups = [_read(group, config) for group in request.groups]
        if endpoint == "proposer":
            scored = [_score_group(group, config, request.detail) for group in groups]
        else:
            steps: Sequence[StepAgreement | None] = [None] * len(groups)
            if endpoint != "outcome":
                steps = await self._compare_steps(groups, config)
            scored = [
                _score_group(
                    group, config, request.detail, _components(endpoint, group, agreed, config, progress)
                )
                for group, agreed in zip(groups, steps, strict=True)
            ]
        return wire.ScoreResponse(
            request_id=request_id,
            fingerprint=fingerprint(config, self._batcher.backend.identity),
            groups=scored,
        )

    async def _compare_steps(
        self, groups: Sequence[_ReadGroup], config: ScoringConfig
    ) -> list[StepAgreement | None]:
        """The agreement of each group's dominant rollouts, embedded in one go; None where too few agree."""
        compared = [len(group.dominant) >= config.min_dominant for group in groups]
        texts = [
            step
            for group, is_compared in zip(groups, compared, strict=True)
            if is_compared
            for index in group.dominant
            for step in group.rollouts[index].steps
        ]
        rows = iter(await self._batcher.embed(texts))
        dimension = self._batcher.backend.dimension
        agreements: list[StepAgreement | None] = []
        for group, is_compared in zip(groups, compared, strict=True):
            if not is_compared:
                agreements.append(None)
                continue
            lengths = [len(group.rollouts[index].steps) for index in group.dominant]
            present: NDArray[np.bool_] = np.arange(max(lengths)) < np.array(lengths)[:, None]
            embeddings = np.zeros((*present.shape, dimension), np.float32)
            for member, position in zip(*np.nonzero(present), strict=True):
                embeddings[member, position] = next(rows)
            rho = agreement.density(group.vote.share(group.vote.dominant), config)
            agreements.append(agreement.step_agreement(embeddings, present, rho, config))
        return agreements


def resolve(overrides: ConfigOverrides) -> ScoringConfig:
    """The config that a request asks for; raises MalformedRequest if its preset does not exist."""
    preset = PRESETS.get(overrides.preset)
    if preset is None:
        reason = f"there is no preset {overrides.preset!r}; there are {', '.join(sorted(PRESETS))}"
        raise MalformedRequest(reason, faults=(wire.Fault(place="config", reason=reason),))
    return overrides.on(preset)


def _read(group: wire.Group, config: ScoringConfig) -> _ReadGroup:
    rollouts = []
    for rollout in group.rollouts:
        if rollout.text is not None:
            parsed = parse_text(rollout.text)
        else:
            parsed = parsed_before(rollout.answer, rollout.steps or ())
        rollouts.append(parsed.limited_to(config.max_steps))
    vote = count_votes([rollout.answer for rollout in rollouts])
    dominant = [
        index
        for index, rollout in enumerate(rollouts)
        if rollout.answer is not None and rollout.answer == vote.dominant
    ]
    return _ReadGroup(group, rollouts, vote, dominant)


def _components(
    endpoint: Endpoint,
    group: _ReadGroup,
    steps: StepAgreement | None,
    config: ScoringConfig,
    progress: float,
) -> _Components:
    shares = np.array([group.vote.share(rollout.answer) for rollout in group.rollouts])
    words = np.array([rollout.words for rollout in group.rollouts], np.float64)
    outcome = agreement.outcome_rewards(shares, words, config)
    if endpoint == "outcome":
        return _Components(outcome, outcome, None, None)
    trajectory = np.zeros(len(group.rollouts))
    if steps is not None:
        trajectory[group.dominant] = steps.rewards
    if endpoint == "trajectory":
        return _Components(trajectory, None, trajectory, steps)
    lambda_t = agreement.step_weight(progress, config)
    return _Components(agreement.solver_rewards(outcome, trajectory, lambda_t), outcome, trajectory, steps)


def _score_group(
    group: _ReadGroup,
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
        "density": agreement.density(vote.share(vote.dominant), config),
        "entropy_nats": entropy_nats,
        "proposer_reward": 0.0 if entropy_nats is None else agreement.proposer_reward(entropy_nats, config),
    }
    if detail == "full":
        fields["clusters"] = [wire.Cluster(answer=answer, count=count) for answer, count in vote.clusters]
    if components is not None:
        fields["rollouts"] = _score_rollouts(group, components, detail)
    return wire.ScoredGroup.model_validate(fields)


def _score_rollouts(
    group: _ReadGroup, components: _Components, detail: Literal["full", "rewards"]
) -> list[wire.ScoredRollout]:
    member_of = {index: member for member, index in enumerate(group.dominant)}
    scored = []
    for index, (sent, parsed) in enumerate(zip(group.sent.rollouts, group.rollouts, strict=True)):
        reward = _value(components.reward, index)
        trajectory = _value(components.trajectory, index)
        fields: dict[str, object] = {
            "id": sent.id,
            "status": "invalid" if parsed.flaw else "abstain" if reward is None else "ok",
            "reason": _FLAWS[parsed.flaw] if parsed.flaw else _NOT_JUDGED if reward is None else None,
            "answer": parsed.answer,
            "reward": reward,
            "outcome": _value(components.outcome, index),
            "trajectory": trajectory,
        }
        if detail == "full":
            fields["steps"] = _score_steps(parsed, components.steps, member_of.get(index))
        scored.append(wire.ScoredRollout.model_validate(fields))
    return scored


def _score_steps(parsed: ParsedRollout, steps: StepAgreement | None, member: int | None) -> list[wire.Step]:
    if steps is None or member is None:
        return [wire.Step(text=step, cosine=None, weight=0.0) for step in parsed.steps]
    return [
        wire.Step(
            text=step,
            cosine=_value(steps.cosines[member], position),
            weight=float(steps.weights[member, position]),
        )
        for position, step in enumerate(parsed.steps)
    ]


def _value(rewards: Doubles | None, index: int) -> float | None:
    """A number, or None where there is none or it could not be computed."""
    return None if rewards is None or np.isnan(rewards[index]) else float(rewards[index])
