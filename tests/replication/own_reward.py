"""A user's own reward."""

from collections.abc import Sequence

from ireasoner.trainer.rewards.group_scorer import GroupRewards
from ireasoner.trainer.rollouts.group import Group


def few_steps(
    groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float
) -> list[GroupRewards]:
    """Rewards fewer steps."""
    return [
        [
            None if reward is None else -float(len(rollout["steps"]))
            for rollout, reward in zip(group.record["rollouts"], scores, strict=True)
        ]
        for group, scores in zip(groups, rewards, strict=True)
    ]
