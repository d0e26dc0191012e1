"""The controls as rewards: what the Solver is trained on instead of its scores.

Each takes scored groups and returns a reward for each rollout; one that the server could not judge (None) stays so.
The Proposer's reward is left as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

from clients import Group as PostedGroup
from clients import RewardClient, Rollout
from replication.rows import Row
from services.reward_server.agreement import step_weight
from trainer.group import Group
from trainer.matching import normalise
from trainer.named_function import named_function
from trainer.reward_variant import RewardVariant
from trainer.rewards import GroupRewards
from trainer.shadow import Labels

Judge = Callable[[Group, dict[str, Any]], float | None]
"""The reward of a rollout (None: none to be had), from its group and what `groups.jsonl` says of it."""


def reward_variant(row: Row, labels: Labels, client: RewardClient) -> RewardVariant | None:
    """What the row trains the Solver on; None for its scores.

    Args:
        row: The row.
        labels: The true answers, for the row that trains on them.
        client: The reward server, for the row that has other groups scored.

    Raises:
        SettingsError: The row names a function that is not there.
    """
    variants: dict[str, RewardVariant] = {
        "format_only": EachRollout(_is_formed),
        "hard_majority": EachRollout(_is_dominant),
        "true_answers": EachRollout(lambda group, rollout: _is_true(labels, group, rollout)),
        "constant_step_agreement": ConstantStepAgreement(row),
        "images_shuffled": ImagesShuffled(row, client),
    }
    if row.variant is None:
        return None
    return variants[row.variant] if row.variant in variants else named_function(row.variant)


class EachRollout:
    """Rewards each rollout by itself."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float
    ) -> list[GroupRewards]:
        """See `trainer.reward_variant.RewardVariant`."""
        return [
            [
                None if reward is None else self._judge(group, rollout)
                for rollout, reward in zip(group.record["rollouts"], group_rewards, strict=True)
            ]
            for group, group_rewards in zip(groups, rewards, strict=True)
        ]


class ConstantStepAgreement:
    """The row's mix in which every rollout of the majority has the mean step reward of the majority.

    So the step reward still grows with the majority and with progress, and tells no member of it from another.
    """

    def __init__(self, row: Row) -> None:
        self._config = row.scoring_config

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float
    ) -> list[GroupRewards]:
        """See `trainer.reward_variant.RewardVariant`."""
        weight = step_weight(progress, self._config)
        return [
            _levelled(group.record["rollouts"], group_rewards, weight)
            for group, group_rewards in zip(groups, rewards, strict=True)
        ]


class ImagesShuffled:
    """The row's reward, of groups whose rollouts answer the same question about different images.

    What still agrees then does not come from the image. Rollout j of a group is scored together with rollouts of
    other groups; groups that were asked the same question share theirs out first.
    """

    def __init__(self, row: Row, client: RewardClient) -> None:
        self._config = {"preset": row.preset, **row.overrides}
        self._client = client

    def __call__(
        self, groups: Sequence[Group], rewards: Sequence[GroupRewards], progress: float
    ) -> list[GroupRewards]:
        """See `trainer.reward_variant.RewardVariant`."""
        places = shuffled_places([group.question or "" for group in groups], len(rewards[0]))
        posted = [
            PostedGroup(
                id=str(number),
                rollouts=[Rollout(id=str(j), text=groups[i].rollouts[j].text) for i, j in members],
            )
            for number, members in enumerate(places)
        ]
        scored = self._client.score("solver", posted, config=self._config, progress=progress).groups
        shuffled: list[GroupRewards] = [list(group_rewards) for group_rewards in rewards]
        for members, group in zip(places, scored, strict=True):
            for (i, j), rollout in zip(members, group.rollouts, strict=True):
                shuffled[i][j] = None if rewards[i][j] is None else rollout.reward
        return shuffled


def shuffled_places(questions: Sequence[str], size: int) -> list[list[tuple[int, int]]]:
    """New groups of `size` as the (group, rollout) places of their members, each place once.

    Groups are ordered by question, so that neighbours mostly share one; new group n takes rollout j of the group that
    stands j behind n in this order. With at least `size` groups no two members of a new group are of one old group.
    """
    order = sorted(range(len(questions)), key=lambda i: questions[i])
    return [[(order[(n + j) % len(order)], j) for j in range(size)] for n in range(len(order))]


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
    label = labels(group.path, group.question) if group.question is not None else None
    if label is None:
        return None
    return float(rollout["answer"] is not None and label.is_right(rollout["answer"]))
