"""A world: pictures of nine image tokens, questions about them, and the true answers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ireasoner.trainer.evaluation.questions import Question as LabelledQuestion

CELLS = 9
"""Cells of a picture, row by row; each is one image token."""

UNSAID = -100
"""Index for a cell that shows none of a list's words; torch's cross entropy skips it by default."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A true first step: its sentence, and the numbers in it that the next steps add up (none if nothing is added)."""

    text: str
    operands: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A cell that one step reads: how the step names it, and the number there."""

    subject: str
    number: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a picture, with its true answer.

    Attributes:
        image: The picture.
        kind: Kind of question.
        text: The question as the Solver gets it.
        openings: Every true first step, at least one; all have the same sum.
        conclude: Gives the answer that follows from a sum, right or wrong; constant if nothing is added.
        readings: The cells in their order, if every step reads one; the answer follows from the sum of the numbers.
    """

    image: Image.Image
    kind: str
    text: str
    openings: tuple[Opening, ...]
    conclude: Callable[[int], str]
    readings: tuple[Reading, ...] = ()

    @property
    def answer(self) -> str:
        """The true answer."""
        return self.conclude(sum(self.numbers))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers to add, sorted: questions with the same numbers use the same addition facts."""
        read = tuple(reading.number for reading in self.readings)
        return tuple(sorted(read or self.openings[0].operands))

    def reading_steps(self, said: Sequence[int]) -> list[str]:
        """The steps that read these numbers, right or wrong: each also says what follows from all numbers so far."""
        return [
            f"{reading.subject} reads {number}: {self.conclude(total)}."
            for reading, number, total in zip(self.readings, said, accumulate(said), strict=False)
        ]

    @property
    def true_readings(self) -> list[str]:
        """The right steps, where every step reads one cell."""
        return self.reading_steps([reading.number for reading in self.readings])

    @property
    def labelled(self) -> LabelledQuestion:
        """The question with its true answer."""
        return LabelledQuestion(Path(), self.text, self.answer)


def first_step(opening: Opening) -> str:
    """The beginning of a worked answer."""
    return beginning([opening.text])


def beginning(steps: Sequence[str]) -> str:
    """The beginning of a worked answer with these first steps."""
    numbered = (f"Step {number}: {step}\n" for number, step in enumerate(steps, start=1))
    return f"<think>\n{''.join(numbered)}"


class LessonPicture(Protocol):
    """A picture for the warm start."""

    @property
    def image(self) -> Image.Image:
        """The picture, of a size that the processor turns into 84 by 84 px."""

    @property
    def words(self) -> Sequence[Sequence[int]]:
        """What the nine cells show: for each list of `World.cell_words`, nine indices into it, or `UNSAID`."""

    def to_open(self, rng: np.random.Generator) -> Sequence[Asked]:
        """Questions whose first steps are taught."""

    def to_answer(self, count: int, rng: np.random.Generator) -> Sequence[Asked]:
        """`count` questions whose whole answers are taught."""

    def to_propose(self, rng: np.random.Generator) -> str:
        """A question that the Proposer is taught to ask."""


class World(Protocol):
    """The source of a task's pictures and questions."""

    @property
    def labels(self) -> str:
        """`module:function` that gives the true answers about training images, for the trainer's setting `labels`."""

    @property
    def question_texts(self) -> Sequence[str]:
        """Every question that is taught."""

    @property
    def cell_words(self) -> Sequence[Sequence[str]]:
        """Lists of words, each one token including its blanks; a cell shows one word of each list."""

    def texts(self) -> Iterable[str]:
        """Texts with every word of first steps and answers, except numbers, which every tokenizer has."""

    def lessons(self, rng: np.random.Generator) -> Callable[[int], Sequence[LessonPicture]]:
        """A function that draws `count` pictures for the warm start."""

    def training_images(self, count: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
        """`count` named pictures to train on without labels; none contains a held-out combination."""

    def evaluation_questions(self, count: int, seed: int, *, held_out: bool) -> list[Asked]:
        """`count` questions about other pictures, either all with held-out combinations or all without."""

    def foreign(self, count: int, seed: int) -> Mapping[str, list[Asked]]:
        """Evaluations made by others, by name, with `count` questions each."""

    def scored(self, count: int, seed: int) -> list[Asked]:
        """`count` questions to score a checkpoint on."""
