"""Reward variants: experiments that train the Solver on something else than its scores."""

import inspect
import math
import traceback
from collections.abc import Sequence
from numbers import Real
from typing import Protocol

from ireasoner.trainer.errors import ScoringError, SettingsError, TrainerError
from ireasoner.trainer.rewards.group_scorer import GroupRewards
from ireasoner.trainer.rewards.named_function import named_function
from ireasoner.trainer.rollouts.group import Group


class RewardVariant(Protocol):
    """Returns the rewards to train on, in order: one finite number per rollout, or None if it has no reward.

    Args:
        groups: The groups of an update, with their rollouts and the server's scores (`record`).
        rewards: Their rewards; a rollout without a reward should stay without.
        progress: t in [0, 1].
    """

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float, /
    ) -> Sequence[GroupRewards]:
        """See the class."""


def named_variant(source: str | None) -> RewardVariant | None:
    """The variant that `reward.function` names as `module:function`; None without one.

    Raises:
        SettingsError: There is no such function, or it does not take groups, rewards and progress.
    """
    if source is None:
        return None
    try:
        function: RewardVariant = named_function(source)
        inspect.signature(function).bind([], [], 0.0)
    except SettingsError as error:
        raise SettingsError(f"reward.function: {error}") from error
    except TypeError as error:
        raise SettingsError(
            f"reward.function: {source} must take three arguments (groups, rewards, progress): {error}"
        ) from error
    return function


def apply_variant(variant: RewardVariant, groups: Sequence[Group], progress: float) -> None:
    """Replaces the groups' rewards by those of a variant.

    Raises:
        ScoringError: The variant failed, or did not return one reward per rollout.
    """
    try:
        replaced = variant(groups, [list(group.rewards) for group in groups], progress)
    except TrainerError:
        raise
    except Exception as error:
        raise ScoringError(f"the reward variant failed: {_where(error)}") from error
    try:
        sizes = [len(rewards) for rewards in replaced]
    except TypeError as error:
        raise ScoringError(
            f"the reward variant did not return a list of rewards per group: {error}"
        ) from error
    if sizes != [len(group.rewards) for group in groups]:
        raise ScoringError(
            f"the reward variant returned {sizes} rewards for groups of {[len(group.rewards) for group in groups]} "
            "rollouts"
        )
    for group, rewards in zip(groups, replaced, strict=True):
        group.rewards = [None if reward is None else _finite(reward) for reward in rewards]


def _where(error: Exception) -> str:
    """The error, with the file and line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def _finite(reward: object) -> float:
    if not isinstance(reward, Real) or not math.isfinite(reward):
        raise ScoringError(f"the reward variant returned {reward!r}: a reward is a finite number or None")
    return float(reward)
