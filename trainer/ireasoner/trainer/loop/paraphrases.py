"""Questions in the Solver's own words, for views and for groups that vote."""

from collections.abc import Callable, Sequence

from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.paraphrase import paraphrase_messages, question_words
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest

Sample = Callable[[Sequence[RolloutRequest]], list[list[Rollout]]]
"""Samples requests from the policy that paraphrases."""

ReadQuestion = Callable[[Rollout], str | None]
"""Returns the question in a completion that asks one; None if there is none that may be asked."""


def paraphrases(
    groups: Sequence[Group],
    count: int,
    sample: Sample,
    first_seeds: Sequence[int],
    read_question: ReadQuestion,
) -> list[list[str | None]]:
    """Each group's question in other words, `count` times.

    None where the policy wrote no question, or one with the words of the group's own.

    Args:
        groups: The groups, with their questions.
        count: Paraphrases per group.
        sample: Samples them.
        first_seeds: Seed of the first paraphrase of each group.
        read_question: Reads the question in a completion.

    Raises:
        RolloutServerError: As `RolloutClient.sample`.
    """
    if not count:
        return [[] for _ in groups]
    requests = [
        RolloutRequest(paraphrase_messages(group.asked), group.png, count, seed)
        for group, seed in zip(groups, first_seeds, strict=True)
    ]
    return [
        [_other_words(read_question(reply), group.asked) for reply in replies]
        for group, replies in zip(groups, sample(requests), strict=True)
    ]


def _other_words(text: str | None, question: str) -> str | None:
    return None if text is None or question_words(text) == question_words(question) else text
