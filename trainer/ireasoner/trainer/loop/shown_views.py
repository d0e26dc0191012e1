"""The prompts of a Solver update: each group's question in the views of the run, and its contrast."""

from collections.abc import Callable, Sequence
from typing import Any

from ireasoner.trainer.errors import ViewError
from ireasoner.trainer.rollouts.control_tokens import control_tokens_in
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.paraphrase import paraphrase_messages
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest
from ireasoner.trainer.views import GroupViews, Seen

Sample = Callable[[Sequence[RolloutRequest]], list[list[Rollout]]]
"""Samples requests from the policy that paraphrases."""


class ShownViews:
    """Gives groups their prompts.

    Args:
        views: The views of the run.
        tokenizer: The policy's tokenizer.
        question: Returns the question in a completion that asks one; None if there is none that may be asked.
    """

    def __init__(self, views: GroupViews, tokenizer: Any, question: Callable[[Rollout], str | None]) -> None:
        self._views = views
        self._tokenizer = tokenizer
        self._question = question
        self.takes_time = views.rewordings > 0
        """Whether a view needs rollouts of its own."""

    def show(
        self, groups: Sequence[Group], update: int, sample: Sample, first_seeds: Sequence[int]
    ) -> list[list[Seen]]:
        """Gives each group the prompts of its question; returns what they show, by group.

        Args:
            groups: The groups, with their questions.
            update: Index of the update.
            sample: Samples paraphrases.
            first_seeds: Seed of the first paraphrase of each group.

        Raises:
            ViewError: A view failed.
            RolloutServerError: As `RolloutClient.sample`.
        """
        words = self._paraphrases(groups, sample, first_seeds)
        seen = [self._views.show(group, words[index], update, index) for index, group in enumerate(groups)]
        for group in groups:
            self._refuse_control_tokens(group)
        return seen

    def replaced_share(self, groups: Sequence[Group]) -> float | None:
        """Share of the groups' views that did not apply to their question; None without views."""
        shown = [prompt for group in groups for prompt in group.prompts if prompt.view is not None]
        return sum(map(self._views.replaced, groups)) / len(shown) if shown else None

    def _paraphrases(
        self, groups: Sequence[Group], sample: Sample, first_seeds: Sequence[int]
    ) -> list[list[str | None]]:
        """Each group's question in other words, once per view that needs them; None where the policy gave none."""
        words: list[list[str | None]] = [[] for _ in groups]
        asked = [(index, group) for index, group in enumerate(groups) if group.question is not None]
        if not self.takes_time or not asked:
            return words
        requests = [
            RolloutRequest(
                paraphrase_messages(str(group.question)),
                group.png,
                self._views.rewordings,
                first_seeds[index],
            )
            for index, group in asked
        ]
        for (index, group), replies in zip(asked, sample(requests), strict=True):
            found = map(self._question, replies)
            words[index] = [None if text == group.question else text for text in found]
        return words

    def _refuse_control_tokens(self, group: Group) -> None:
        """Refuses views whose question would alter the prompt; the group's own was checked when it was proposed."""
        for prompt in group.sampled_prompts:
            if prompt.question in (None, group.question):
                continue
            tokens = control_tokens_in(str(prompt.question), self._tokenizer)
            if tokens:
                raise ViewError(f"the question of the view {prompt.view!r} holds control tokens: {tokens}")
