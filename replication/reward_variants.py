"""The controls as rewards: each replaces the scores on which the Solver is trained.

A variant takes scored groups and returns one reward per rollout. A rollout on which the server abstained (None) keeps
None. The Proposer's reward does not change.
"""

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from ireasoner.clients import Group as PostedGroup
from ireasoner.clients import RewardClient, Rollout
from ireasoner.reward_server.agreement.formulas import step_weight
from ireasoner.trainer.evaluation.matching import normalise
from ireasoner.trainer.rewards.group_scorer import GroupRewards
from ireasoner.trainer.rewards.shadow_labels import Labels
from ireasoner.trainer.rewards.variant import RewardVariant
from ireasoner.trainer.rollouts.group import Group
from replication.arms import Arm

Judge = Callable[[Group, dict[str, Any]], float | None]
"""The reward of a rollout (None: unknown), from its group and the rollout's record in `groups.jsonl`."""

_REMEMBERED = 16
"""Groups kept per question; an update that asks one question about all its images adds eight."""


def reward_variant(arm: Arm, labels: Labels, client: RewardClient) -> RewardVariant | None:
    """The control on which the arm trains the Solver; None for the scores, or a reward of one's own.

    Args:
        arm: The arm.
        labels: The true answers, for the arm that trains on them.
        client: The reward server, for the arm that scores other groups.
    """
    variants: dict[str, RewardVariant] = {
        "format_only": EachRollout(_is_formed),
        "hard_majority": EachRollout(_is_dominant),
        "true_answers": EachRollout(lambda group, rollout: _is_true(labels, group, rollout)),
        "constant_step_agreement": ConstantStepAgreement(arm),
        "other_images": OtherImages(arm, client),
    }
    if arm.variant is None:
        return None
    return variants[arm.variant]


class EachRollout:
    """Rewards each rollout on its own."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float
    ) -> list[GroupRewards]:
        """See `ireasoner.trainer.rewards.variant.RewardVariant`."""
        return [
            [
                None if reward is None else self._judge(group, rollout)
                for rollout, reward in zip(group.record["rollouts"], group_rewards, strict=True)
            ]
            for group, group_rewards in zip(groups, rewards, strict=True)
        ]


class ConstantStepAgreement:
    """The arm's mix in which every rollout of the majority gets their mean step reward.

    The step reward still grows with the majority and with progress, but does not distinguish the majority's rollouts.
    """

    def __init__(self, arm: Arm) -> None:
        self._config = arm.scoring_config

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float
    ) -> list[GroupRewards]:
        """See `ireasoner.trainer.rewards.variant.RewardVariant`."""
        weight = step_weight(progress, self._config)
        return [
            _levelled(group.record["rollouts"], group_rewards, weight)
            for group, group_rewards in zip(groups, rewards, strict=True)
        ]


class OtherImages:
    """The arm's reward of each rollout in a group with answers to the same question about other images.

    Agreement in such a group does not come from the image. Each rollout is scored in its own group, whose other members
    are taken in turn from the newest groups with the same question about another image, of this or an earlier update.
    Without such a group, the rollout has no reward. A resumed run starts without earlier groups.
    """

    def __init__(self, arm: Arm, client: RewardClient) -> None:
        self._config = {"preset": arm.preset, **arm.overrides}
        self._client = client
        self._asked: dict[str, list[Group]] = {}

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float
    ) -> list[GroupRewards]:
        """See `ireasoner.trainer.rewards.variant.RewardVariant`."""
        for group in groups:
            self._asked.setdefault(group.asked, []).insert(0, group)
        posted: dict[tuple[int, int], PostedGroup] = {}
        for i, (group, scores) in enumerate(zip(groups, rewards, strict=True)):
            others = self._others(group, len(scores) - 1)
            if others:
                for j, score in enumerate(scores):
                    if score is not None:
                        members = [group.rollouts[j].text, *_in_turn(others, j, len(scores) - 1)]
                        posted[i, j] = PostedGroup(
                            id=f"{i}-{j}",
                            rollouts=[Rollout(id=str(k), text=text) for k, text in enumerate(members)],
                        )
        new: list[GroupRewards] = [[None] * len(scores) for scores in rewards]
        if posted:
            scored = self._client.score(
                "solver", list(posted.values()), config=self._config, progress=progress
            ).groups
            for (i, j), one in zip(posted, scored, strict=True):
                new[i][j] = one.rollouts[0].reward
        for question, asked in self._asked.items():
            self._asked[question] = asked[:_REMEMBERED]
        return new

    def _others(self, group: Group, count: int) -> list[Group]:
        """The newest group of each other image with the same question, at most `count`."""
        newest: dict[Path, Group] = {}
        for other in self._asked.get(group.asked, ()):
            if other.path != group.path:
                newest.setdefault(other.path, other)
        return list(newest.values())[:count]


def _in_turn(others: Sequence[Group], first: int, count: int) -> list[str]:
    """`count` texts, one of each group in turn; within a group the rollouts from index `first` on."""
    return [
        other.rollouts[(first + k // len(others)) % len(other.rollouts)].text
        for k, other in zip(range(count), cycle(others), strict=False)
    ]


def _levelled(rollouts: Sequence[dict[str, Any]], rewards: GroupRewards, weight: float) -> GroupRewards:
    steps = [rollout["trajectory"] for rollout in rollouts]
    majority = [value for value in steps if value]
    if not majority:
        return rewards
    mean = sum(majority) / len(majority)
    return [
        reward if reward is None or not value else reward + weight * (mean - value)
        for reward, value in zip(rewards, steps, strict=True)
    ]


def _is_formed(_: Group, rollout: dict[str, Any]) -> float:
    return float(rollout["status"] == "ok" and bool(rollout["steps"]))


def _is_dominant(group: Group, rollout: dict[str, Any]) -> float:
    dominant, answer = group.record["dominant_answer"], rollout["answer"]
    return float(dominant is not None and answer is not None and normalise(answer) == normalise(dominant))


def _is_true(labels: Labels, group: Group, rollout: dict[str, Any]) -> float | None:
    label = labels(group.path, group.asked)
    if label is None:
        return None
    return float(rollout["answer"] is not None and label.is_right(rollout["answer"]))
