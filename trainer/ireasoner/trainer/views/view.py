"""A view: another form of a question about an image, whose answer is known to be equal, or to map back."""

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from ireasoner.trainer.errors import ViewError

AnswerMap = Callable[[str], str | None]
"""Maps an answer in a view to the answer of the plain question; None if it cannot be mapped."""

Form = tuple[Image.Image, str, AnswerMap | None]
"""An image, a question, and the map of its answers; None if they are the plain question's."""

Transform = Callable[[Image.Image, str, int, int], Form | None]
"""Gives the form of an image and a question in a view; None if the view does not apply to them.

Args:
    image: The image, RGB.
    question: The question.
    seed: Seed of the group: it depends on the run's seed, the update and the group alone.
    index: How many views of the same name come before this one.
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A question as a view shows it.

    Attributes:
        view: Name of the view.
        picture: The image, RGB.
        question: The question.
        answer_map: Maps an answer back; None if answers are those of the plain question.
    """

    view: str
    picture: Image.Image
    question: str
    answer_map: AnswerMap | None = None

    def plain_answer(self, answer: str) -> str | None:
        """The answer of the plain question that an answer in this view stands for; None if it cannot be mapped.

        Raises:
            ViewError: The map failed, or returned something else.
        """
        if self.answer_map is None:
            return answer
        try:
            mapped = self.answer_map(answer)
        except Exception as error:
            raise ViewError(
                f"the view {self.view!r} could not map the answer {answer!r} back: {_where(error)}"
            ) from error
        if mapped is not None and not isinstance(mapped, str):
            raise ViewError(
                f"the view {self.view!r} mapped the answer {answer!r} to {mapped!r}, which is no text"
            )
        return mapped if mapped is None or mapped.strip() else None


@dataclass(frozen=True, slots=True)
class View:
    """A view by name.

    Attributes:
        source: Its name in the settings.
        transform: Gives the image and the question.
        index: How many views of the same source come before it.
        rewords: Whether the policy says the question in other words before the transform.
    """

    source: str
    transform: Transform
    index: int = 0
    rewords: bool = False

    @property
    def name(self) -> str:
        """Its name on the wire and in `groups.jsonl`: the source, with a number from the second one on."""
        return self.source if self.index == 0 else f"{self.source}-{self.index + 1}"

    def of(self, picture: Image.Image, question: str, seed: int) -> Seen | None:
        """The question in this view; None if the view does not apply to it.

        Raises:
            ViewError: The transform failed, or did not return an image, a question and a map.
        """
        try:
            form = self.transform(picture, question, seed, self.index)
        except Exception as error:
            raise ViewError(f"the view {self.name!r} of {question!r} failed: {_where(error)}") from error
        return None if form is None else self._seen(form)

    def _seen(self, form: Form) -> Seen:
        try:
            picture, question, answer_map = form
        except (TypeError, ValueError) as error:
            raise self._wrong(f"{form!r}, not an image, a question and a map of answers or None") from error
        if not isinstance(picture, Image.Image) or min(picture.size) < 1:
            raise self._wrong(f"{picture!r} as its image")
        if not isinstance(question, str) or not question.strip():
            raise self._wrong(f"{question!r} as its question")
        if answer_map is not None and not callable(answer_map):
            raise self._wrong(f"{answer_map!r} as its map of answers, which is neither a function nor None")
        return Seen(self.name, _plain_rgb(picture), question, answer_map)

    def _wrong(self, what: str) -> ViewError:
        return ViewError(f"the view {self.name!r} returned {what}")


def drawn(seed: int, name: str, index: int) -> random.Random:
    """The random numbers of one view of one group."""
    return random.Random(f"{seed}/{name}/{index}")


def _where(error: Exception) -> str:
    """The error, with the file and line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


def _plain_rgb(picture: Image.Image) -> Image.Image:
    """The image in RGB without metadata, which PNG would carry along."""
    if picture.mode == "RGB" and not picture.info:
        return picture
    picture = picture.convert("RGB") if picture.mode != "RGB" else picture.copy()
    picture.info.clear()
    return picture
