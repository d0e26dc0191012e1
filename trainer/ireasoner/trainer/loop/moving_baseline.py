"""The moving baseline: advantages without normalisation inside a group."""

import math
from collections.abc import Mapping, Sequence

from ireasoner.trainer.settings import ROLES, Role

_MOMENTUM = 0.9
"""Share of a baseline that remains after an update. EvoLMM's code has the same value per rollout."""

_START = 0.0
"""Baseline of the first update, as in EvoLMM's code."""


class MovingBaseline:
    """A moving average of the rewards of each role, which advantages are taken against.

    The estimator is EvoLMM's (arXiv 2511.16672), REINFORCE with moving baselines: `advantage = reward - b`. After the
    advantages of an update are computed, `b <- 0.9 b + 0.1 m`, where `m` is the mean reward of the update. So
    advantages do not depend on the order of the rollouts. EvoLMM's code moves `b` after each rollout.

    Attributes:
        values: The baseline of each role.
    """

    def __init__(self) -> None:
        self.values: dict[Role, float] = dict.fromkeys(ROLES, _START)

    def advantages(self, role: Role, rewards: Sequence[float | None]) -> list[float]:
        """The advantages of all rollouts of an update; then moves the baseline of `role`.

        Args:
            role: The role that the update trains.
            rewards: One per rollout, None if it has none.

        Returns:
            One advantage per rollout; 0 if it has no reward.
        """
        baseline = self.values[role]
        advantages = [0.0 if reward is None else reward - baseline for reward in rewards]
        known = [reward for reward in rewards if reward is not None]
        if known:
            mean = math.fsum(known) / len(known)  # exact, so the same in every order
            self.values[role] = moved(baseline, mean)
        return advantages

    def restore(self, values: Mapping[Role, float]) -> None:
        """Continues from the baselines of a checkpoint."""
        self.values = dict(values)


def moved(baseline: float, reward: float) -> float:
    """The baseline after a reward, or the mean of several."""
    return _MOMENTUM * baseline + (1 - _MOMENTUM) * reward
