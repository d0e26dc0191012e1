"""Experiments with the reward: what the Solver is trained on instead of its scores."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Protocol

from ireasoner.trainer.errors import ScoringError
from ireasoner.trainer.rewards.group_scorer import GroupRewards
from ireasoner.trainer.rollouts.group import Group


class RewardVariant(Protocol):
    """Gives the rewards to train on, in order: a finite number for each rollout, or None where there is none.

    Args:
        groups: The groups of an update, with their rollouts and what the server said of them (`record`).
        rewards: Their scores; a rollout that has none should have none afterwards.
        progress: t in [0, 1].
    """

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float, /
    ) -> Sequence[GroupRewards]:
        """See the class."""


def vary(variant: RewardVariant, groups: Sequence[Group], progress: float) -> None:
    """Puts what a variant gives in the place of the groups' rewards.

    Raises:
        ScoringError: It gave something else than a reward for each rollout.
    """
    varied = variant(groups, [group.rewards for group in groups], progress)
    try:
        sizes = [len(rewards) for rewards in varied]
    except TypeError as error:
        raise ScoringError(f"the reward variant gave no list of rewards for each group: {error}") from error
    if sizes != [len(group.rewards) for group in groups]:
        raise ScoringError(
            f"the reward variant gave {sizes} rewards for groups of {[len(group.rewards) for group in groups]} rollouts"
        )
    for group, rewards in zip(groups, varied, strict=True):
        group.rewards = [None if reward is None else _finite(reward) for reward in rewards]


def _finite(reward: object) -> float:
    if not isinstance(reward, Real) or not math.isfinite(reward):
        raise ScoringError(f"the reward variant gave {reward!r}: a reward is a finite number, or None")
    return float(reward)
