"""The views of the groups of a run: which prompts a question becomes."""

import hashlib
from collections.abc import Sequence

from ireasoner.trainer.errors import ViewError
from ireasoner.trainer.images import png_bytes
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.paraphrase import question_words
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.views.known_views import PLAIN
from ireasoner.trainer.views.view import Seen, View


class GroupViews:
    """Shows each question in the views of the run.

    What a view shows depends on the run's seed, the update and the group alone, besides the image and the question: a
    resumed run shows the same.

    Args:
        views: The views of each group, in order; none for groups of one prompt.
        contrast: The view that must change the answer, if there is one.
        seed: Seed of the run.
        group_size: N, rollouts per group; a multiple of the number of views.
        contrast_rollouts: Rollouts of the contrast per group.
    """

    def __init__(
        self,
        views: Sequence[View],
        contrast: View | None,
        *,
        seed: int,
        group_size: int,
        contrast_rollouts: int,
    ) -> None:
        self._views = tuple(views)
        self._contrast = contrast
        self._seed = seed
        self._group_size = group_size
        self._contrast_rollouts = contrast_rollouts
        self.rewordings = sum(view.rewords for view in views)
        """How many views need the question in the policy's own words."""

    def show(self, group: Group, rewordings: Sequence[str | None], update: int, index: int) -> list[Seen]:
        """Gives a group the prompts of its question and its contrast; returns what each prompt of the question shows.

        Where a view does not apply to the question, the plain question takes its place. A view whose image and words
        are those of the plain question, or of an earlier view, is shown under that one's name: votes over one prompt
        never judge each other as two views. Without views, a group has one prompt, which shows no view.

        Args:
            group: The group, with its question.
            rewordings: The question in other words, for each view that needs them; None where there are none.
            update: Index of the update.
            index: Index of the group in it.

        Raises:
            ViewError: A view failed.
        """
        group.contrast_prompt = self._contrasted(group, update, index)
        if not self._views:
            messages = solver_messages(group.asked)
            group.prompts = [
                Prompt(messages, group.picture, group.png, self._group_size, question=group.asked)
            ]
            return []
        seed, words = self._group_seed(update, index), iter(rewordings)
        seen = _distinct(
            [
                self._seen(view, group, next(words, None) if view.rewords else group.asked, seed)
                for view in self._views
            ],
            _plain(group),
        )
        count = self._group_size // len(self._views)
        group.prompts = [_prompt(group, each, count) for each in seen]
        return seen

    def replaced(self, group: Group) -> int:
        """The number of the group's views that did not apply to its question, or showed nothing of their own."""
        return sum(prompt.view != view.name for prompt, view in zip(group.prompts, self._views, strict=False))

    def _contrasted(self, group: Group, update: int, index: int) -> Prompt | None:
        """The prompt whose answers count against those of the group; None if there is none."""
        if self._contrast is None:
            return None
        seen = self._contrast.of(group.picture, group.asked, self._group_seed(update, index))
        if seen is None:
            return None
        if seen.answer_map is not None:
            raise ViewError(
                f"the contrast {self._contrast.name!r} returned a map of answers: a contrast has none"
            )
        return _prompt(group, seen, self._contrast_rollouts)

    @staticmethod
    def _seen(view: View, group: Group, question: str | None, seed: int) -> Seen:
        seen = None if question is None else view.of(group.picture, question, seed)
        return seen or _plain(group)

    def _group_seed(self, update: int, index: int) -> int:
        return (self._seed * 1_000_003 + update) * 1_000_003 + index


def _plain(group: Group) -> Seen:
    return Seen(PLAIN.name, group.picture, group.asked)


def _distinct(seen: Sequence[Seen], plain: Seen) -> list[Seen]:
    """Each view, or in its place the first one that shows the same; the plain question comes before all."""
    first = {_shown(plain): plain}
    return [first.setdefault(_shown(each), each) for each in seen]


def _shown(seen: Seen) -> tuple[tuple[int, int], bytes, str]:
    """What distinguishes one view from another: the size and pixels of its image, and the words of its question."""
    pixels = hashlib.blake2b(seen.picture.tobytes()).digest()
    return seen.picture.size, pixels, question_words(seen.question)


def _prompt(group: Group, seen: Seen, count: int) -> Prompt:
    png = group.png if seen.picture is group.picture else png_bytes(seen.picture)
    return Prompt(solver_messages(seen.question), seen.picture, png, count, seen.view, seen.question)
