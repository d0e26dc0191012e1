"""Rollouts that are paid more than another one for nothing but their length or their number of steps."""

from collections.abc import Sequence

from ireasoner.audit.group import MIN_SPREAD, AuditedGroup, AuditedRollout, AuditedStep

MAX_ROLLOUTS = 32
"""Rollouts of a group that are compared, at most: each is compared with every other one."""


def length_gain_share(groups: Sequence[AuditedGroup]) -> float | None:
    """Share of the rewarded rollouts with an answer, in [0, 1], that gain by length alone; None if there are none.

    A rollout gains by length alone if another one of its group gives the same answer, agrees with the group at least
    as well in the steps that both have, and still has a lower reward, while its words or steps differ in number.
    """
    gains = [
        any(_gains_by_length(rollout, other) for other in candidates)
        for group in groups
        for candidates in [[each for each in group.rollouts[:MAX_ROLLOUTS] if each.answer is not None]]
        for rollout in candidates
        if rollout.reward is not None
    ]
    return sum(gains) / len(gains) if gains else None


def _gains_by_length(rollout: AuditedRollout, other: AuditedRollout) -> bool:
    if rollout.answer != other.answer or rollout.reward is None or other.reward is None:
        return False
    if rollout.reward <= other.reward + MIN_SPREAD:
        return False
    if (rollout.words, len(rollout.steps)) == (other.words, len(other.steps)):
        return False
    return not _agrees_better(rollout.steps, other.steps)


def _agrees_better(steps: Sequence[AuditedStep], others: Sequence[AuditedStep]) -> bool:
    """Whether `steps` have a higher mean cosine than `others`, over the positions at which both were compared."""
    both = [
        (step, other)
        for step, other in zip(steps, others, strict=False)
        if step.cosine is not None and other.cosine is not None
    ]
    return _mean_cosine([step for step, _ in both]) > _mean_cosine([other for _, other in both]) + MIN_SPREAD


def _mean_cosine(steps: Sequence[AuditedStep]) -> float:
    """The mean cosine, weighted as in the reward; 0 without any."""
    weight = sum(step.weight for step in steps)
    return sum(step.weight * (step.cosine or 0.0) for step in steps) / weight if weight > 0 else 0.0
