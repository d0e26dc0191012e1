"""What the scores of a group with views need besides: answers mapped back, and the price of a contrast."""

from collections.abc import Sequence
from dataclasses import replace

from ireasoner.clients import ScoredGroup, ScoredRollout
from ireasoner.trainer.rewards.group_scorer import GroupScorer, GroupToScore
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.views.view import Seen

UNMAPPED = ""
"""Stands for an answer that cannot be mapped back: its rollout neither votes nor has a reward."""

_SEEN, _CONTRAST = "seen", "contrast"


class ViewScores:
    """Reads answers, and how often a contrast gives them, with the reward server.

    Args:
        scorer: The run's scorer; its own requests stay as they are.
        contrast_weight: k, the price of an answer that the contrast gives, too.
    """

    def __init__(self, scorer: GroupScorer, contrast_weight: float) -> None:
        self._reader = scorer.reader()
        self._weight = contrast_weight

    def map_answers(self, groups: Sequence[Group], seen: Sequence[Sequence[Seen]], update: int) -> None:
        """Maps the answers of the groups' rollouts back from their views.

        The reward server reads the answers out of the texts; nothing is asked if no view has a map.

        Args:
            groups: The groups, with their rollouts.
            seen: What each prompt of each group shows.
            update: Index of the update.

        Raises:
            ViewError: A map failed.
            ScoringError, RewardError: As `GroupScorer.score`.
        """
        for group in groups:
            group.answers_in_view = [None] * len(group.rollouts)
        mapped = [
            (group, members)
            for group, views in zip(groups, seen, strict=True)
            if (members := _mapped(group, views))
        ]
        if not mapped:
            return
        posted = [
            GroupToScore([group.rollouts[member] for member in members], None, None)
            for group, members in mapped
        ]
        read = self._reader.score("outcome", posted, update, None)
        for (group, members), score in zip(mapped, read, strict=True):
            for (member, shown), rollout in zip(members.items(), score.rollouts, strict=True):
                if rollout.answer is not None:
                    group.answers_in_view[member] = shown.plain_answer(rollout.answer) or UNMAPPED

    def judged(
        self, groups: Sequence[Group], scored: Sequence[ScoredGroup], update: int
    ) -> list[ScoredGroup]:
        """The scores, less the price of the contrast; rollouts whose answer cannot be mapped abstain.

        A reward is r - k p(a | contrast): p is the share of the contrast's rollouts, those without an answer included,
        that give the rollout's answer. An invalid rollout pays the largest price of its group, so that no rollout gains
        by leaving its answer out. The price is the component `contrast`.

        Raises:
            ScoringError, RewardError: As `GroupScorer.score`.
        """
        judged = [_with_abstentions(group, score) for group, score in zip(groups, scored, strict=True)]
        contrasted = [index for index, group in enumerate(groups) if group.contrast]
        if not contrasted:
            return judged
        posted = [_beside_contrast(groups[index]) for index in contrasted]
        shares = self._reader.score("outcome", posted, update, None)
        for index, share in zip(contrasted, shares, strict=True):
            judged[index] = self._priced(groups[index], judged[index], share)
        return judged

    def _priced(self, group: Group, score: ScoredGroup, share: ScoredGroup) -> ScoredGroup:
        """The score less the price; `share` has the shares of the answers in the contrast as its rewards."""
        size = len(group.rollouts)
        answered = any(rollout.status != "invalid" for rollout in share.rollouts[size:])
        group.contrast_shares = [rollout.reward if answered else 0.0 for rollout in share.rollouts[:size]]
        dearest = max((each for each in group.contrast_shares if each is not None), default=0.0)
        return replace(
            score,
            rollouts=tuple(
                _less(rollout, dearest if rollout.status == "invalid" else contrast, self._weight)
                for rollout, contrast in zip(score.rollouts, group.contrast_shares, strict=True)
            ),
        )


def _mapped(group: Group, seen: Sequence[Seen]) -> dict[int, Seen]:
    """What those rollouts of a group were shown whose answers are mapped, by their index; none without views."""
    shown = [each for prompt, each in zip(group.prompts, seen, strict=False) for _ in range(prompt.count)]
    return {member: each for member, each in enumerate(shown) if each.answer_map is not None}


def _beside_contrast(group: Group) -> GroupToScore:
    """The rollouts and those of the contrast, as two views that judge each other."""
    views = [_SEEN] * len(group.rollouts) + [_CONTRAST] * len(group.contrast)
    answers = [*group.answers_in_view, *[None] * len(group.contrast)]
    return GroupToScore([*group.rollouts, *group.contrast], None, None, views=views, answers_in_view=answers)


def _less(rollout: ScoredRollout, share: float | None, weight: float) -> ScoredRollout:
    if rollout.reward is None or share is None:
        return replace(rollout, reward=None)
    price = weight * share
    return replace(
        rollout, reward=rollout.reward - price, components={**rollout.components, "contrast": -price}
    )


def _with_abstentions(group: Group, score: ScoredGroup) -> ScoredGroup:
    """The score, in which rollouts whose answer cannot be mapped abstain."""
    if UNMAPPED not in group.answers_in_view:
        return score
    rollouts = [
        replace(
            rollout,
            status="abstain",
            reason=f"its answer in the view {prompt.view!r} cannot be mapped back",
            reward=None,
            outcome=None,
            trajectory=None,
        )
        if answer == UNMAPPED
        else rollout
        for rollout, answer, prompt in zip(
            score.rollouts, group.answers_in_view, group.prompt_of_rollout, strict=True
        )
    ]
    return replace(score, rollouts=tuple(rollouts))
