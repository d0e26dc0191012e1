"""The prompts of a Solver update: each group's question in the views of the run, and its contrast."""

from collections.abc import Sequence
from typing import Any

from ireasoner.trainer.errors import ViewError
from ireasoner.trainer.loop.paraphrases import ReadQuestion, Sample, paraphrases
from ireasoner.trainer.rollouts.control_tokens import control_tokens_in
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.views import GroupViews, Seen


class ShownViews:
    """Gives groups their prompts.

    Args:
        views: The views of the run.
        tokenizer: The policy's tokenizer.
        question: Returns the question in a completion that asks one; None if there is none that may be asked.
    """

    def __init__(self, views: GroupViews, tokenizer: Any, question: ReadQuestion) -> None:
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
        words = paraphrases(groups, self._views.rewordings, sample, first_seeds, self._question)
        seen = [self._views.show(group, words[index], update, index) for index, group in enumerate(groups)]
        for group in groups:
            self._refuse_control_tokens(group)
        return seen

    def replaced_share(self, groups: Sequence[Group]) -> float | None:
        """Share of the groups' views that did not apply to their question; None without views."""
        shown = [prompt for group in groups for prompt in group.prompts if prompt.view is not None]
        return sum(map(self._views.replaced, groups)) / len(shown) if shown else None

    def _refuse_control_tokens(self, group: Group) -> None:
        """Refuses views whose question would alter the prompt; the group's own was checked when it was proposed."""
        for prompt in group.sampled_prompts:
            if prompt.question in (None, group.question):
                continue
            tokens = control_tokens_in(str(prompt.question), self._tokenizer)
            if tokens:
                raise ViewError(f"the question of the view {prompt.view!r} holds control tokens: {tokens}")
