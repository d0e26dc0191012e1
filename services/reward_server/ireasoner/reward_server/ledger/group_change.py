"""How the scores of one group differ between two ways of scoring it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_CHANGE = 1e-4
"""Rewards that differ by less count as equal: the last bits of an embedding depend on the texts beside it."""

Rewards = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class GroupChange:
    """A group before and after.

    Attributes:
        before: One reward per rollout, None if it has none; of a group that is scored for the Proposer, its reward.
        after: The same with the other scoring.
        dominant_before: The dominant answer.
        dominant_after: The same with the other scoring.
    """

    before: Rewards
    after: Rewards
    dominant_before: str | None
    dominant_after: str | None

    @classmethod
    def of(cls, before: Mapping[str, Any], after: Mapping[str, Any], endpoint: str) -> "GroupChange":
        """The change between two scorings of a group by an endpoint."""
        answers = before["dominant_answer"], after["dominant_answer"]
        return cls(_rewards(before, endpoint), _rewards(after, endpoint), *answers)

    @property
    def changed(self) -> int:
        """Number of rewards that differ; one that appears or disappears does."""
        differs = 0
        for before, after in zip(self.before, self.after, strict=True):
            if before is None or after is None:
                differs += before is not after
            else:
                differs += abs(before - after) > MIN_CHANGE
        return differs

    @property
    def change(self) -> float:
        """Largest absolute difference of a reward that is known on both sides; 0 without any."""
        before, after = self._known()
        return float(np.max(np.abs(before - after), initial=0.0))

    @property
    def rank_flips(self) -> int:
        """Number of pairs of rollouts of which one was ahead before and the other is ahead after."""
        before, after = self._known()
        return int(np.sum((_orders(before) * _orders(after)) < 0)) // 2

    @property
    def moments(self) -> tuple[int, float, float, float, float, float]:
        """Number of rewards known on both sides, their sums, sums of squares and sum of products."""
        before, after = self._known()
        return (
            len(before),
            float(before.sum()),
            float(after.sum()),
            float(before @ before),
            float(after @ after),
            float(before @ after),
        )

    def _known(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The rewards of the rollouts that have one on both sides."""
        both = [
            (before, after)
            for before, after in zip(self.before, self.after, strict=True)
            if before is not None and after is not None
        ]
        columns = np.array(both, np.float64).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]


def _rewards(scored: Mapping[str, Any], endpoint: str) -> list[float | None]:
    if endpoint == "proposer":
        return [scored["proposer_reward"]]
    return [rollout["reward"] for rollout in scored["rollouts"]]


def _orders(rewards: NDArray[np.float64]) -> NDArray[np.int8]:
    """1 where the first of a pair is ahead, -1 where the second is, 0 where they are equal, [N, N]."""
    gaps = rewards[:, None] - rewards[None, :]
    return (gaps > MIN_CHANGE).astype(np.int8) - (gaps < -MIN_CHANGE).astype(np.int8)
