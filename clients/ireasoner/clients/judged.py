"""What an adapter gets for one rollout: its reward, and what the framework can show beside it."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ireasoner.clients.errors import RewardError
from ireasoner.clients.wire import ScoredGroup, ScoredRollout

log = logging.getLogger(__name__)

_hinted: set[str] = set()
"""The fingerprints under which a hint was logged."""

_SMALLEST_GAP = 1e-6
"""Between the parts of a reward: what is smaller does not show their weights."""


class NotJudged(RewardError):
    """The server abstained from every rollout of a group, but the framework needs numbers."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The reward of one rollout, and numbers for the framework's charts.

    Attributes:
        reward: In [0, 1], or any number where the config pays a signal; None if the server abstained.
        answer: The normalised answer, None if there is none.
        metrics: Floats under the same keys for every rollout. A value that could not be computed for this rollout is
            the mean over its group, and NaN if the group has none.
        others: The mean reward of the group's judged rollouts, None if there are none.
        parts: `outcome`, `trajectory`, and the components of the outcome reward; None where it was not computed.
        reason: Why the rollout is invalid or was not judged; None if it was judged.
        steps: The texts of its steps, if they were asked for.
        entropy_nats: Entropy of the group's answers, None if no rollout has a valid answer.
        fingerprint: How the group was scored.
    """

    reward: float | None
    answer: str | None
    metrics: Mapping[str, float]
    others: float | None
    parts: Mapping[str, float | None] = field(default_factory=dict)
    reason: str | None = None
    steps: tuple[str, ...] = ()
    entropy_nats: float | None = None
    fingerprint: str = ""

    @property
    def neutral(self) -> float:
        """The reward, or the mean of the group's others if the server abstained, for frameworks that need a number.

        The mean gives the rollout no advantage and leaves those of the others unchanged. Raises NotJudged if the
        server abstained from the whole group.
        """
        value = self.others if self.reward is None else self.reward
        if value is None:
            raise NotJudged(f"the server could not judge any rollout of the group: {self.reason}")
        return value


def judged_group(group: ScoredGroup, fingerprint: str) -> list[Judged]:
    """The rollouts of one group; what the server says that the config misses is logged once per fingerprint."""
    if group.hint is not None and fingerprint not in _hinted:
        _hinted.add(fingerprint)
        log.warning("the reward server says: %s", group.hint)
    others = mean(rollout.reward for rollout in group.rollouts)
    outcome = mean(rollout.outcome for rollout in group.rollouts)
    trajectory = mean(rollout.trajectory for rollout in group.rollouts)

    def judged(rollout: ScoredRollout) -> Judged:
        return Judged(
            rollout.reward,
            rollout.answer,
            {
                "outcome": _known(rollout.outcome, outcome),
                "trajectory": _known(rollout.trajectory, trajectory),
                "dominant_share": group.dominant_share,
                "tie": float(group.tie),
                "valid": float(rollout.status == "ok"),
                "abstained": float(rollout.status == "abstain"),
            },
            others,
            {**rollout.components, "outcome": rollout.outcome, "trajectory": rollout.trajectory},
            rollout.reason,
            tuple(step.text for step in rollout.steps),
            group.entropy_nats,
            fingerprint,
        )

    return [judged(rollout) for rollout in group.rollouts]


def means(judged: Iterable[Judged]) -> dict[str, float]:
    """The mean of each metric over the rollouts for which it is known; left out if it is known for none."""
    known: dict[str, list[float]] = {}
    for each in judged:
        for name, value in each.metrics.items():
            if not math.isnan(value):
                known.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in known.items()}


def step_weight(judged: Sequence[Judged]) -> float | None:
    """lambda, by which rewards were mixed: `(1 - lambda) * outcome + lambda * trajectory`.

    Read off the rollout whose parts differ most; None if the parts of none differ.
    """
    widest, weight = _SMALLEST_GAP, None
    for each in judged:
        outcome, trajectory = each.parts.get("outcome"), each.parts.get("trajectory")
        if each.reward is None or outcome is None or trajectory is None:
            continue
        if (gap := abs(trajectory - outcome)) > widest:
            widest, weight = gap, (each.reward - outcome) / (trajectory - outcome)
    return weight


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the known values, None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _known(*values: float | None) -> float:
    return next((value for value in values if value is not None), math.nan)
