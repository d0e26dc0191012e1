"""A world: pictures of nine image tokens, questions about them, and the truth."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ireasoner.trainer.evaluation.questions import Question as LabelledQuestion

CELLS = 9
"""Cells of a picture, row by row: each is one image token."""

UNSAID = -100
"""Where a cell has none of the words of a list; torch's cross entropy skips it by default."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A true first step: the sentence, and the numbers it reads, which the next steps add up (none: nothing is)."""

    text: str
    operands: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a picture, with the truth.

    Attributes:
        image: The picture.
        kind: What sort of question it is.
        text: What the Solver is asked.
        openings: Every true first step, at least one; all have the same sum.
        conclude: The answer that follows from a sum, right or wrong; the only one where nothing is added.
    """

    image: Image.Image
    kind: str
    text: str
    openings: tuple[Opening, ...]
    conclude: Callable[[int], str]

    @property
    def answer(self) -> str:
        """The true answer."""
        return self.conclude(sum(self.openings[0].operands))

    @property
    def numbers(self) -> tuple[int, ...]:
        """What is added up, in order of size: questions with the same numbers meet the same facts of addition."""
        return tuple(sorted(self.openings[0].operands))

    @property
    def labelled(self) -> LabelledQuestion:
        """The question with its true answer."""
        return LabelledQuestion(Path(), self.text, self.answer)


def first_step(opening: Opening) -> str:
    """How a worked answer begins."""
    return f"<think>\nStep 1: {opening.text}\n"


class LessonPicture(Protocol):
    """A picture to teach with."""

    @property
    def image(self) -> Image.Image:
        """84 by 84 px, or what the processor makes that of."""

    @property
    def words(self) -> Sequence[Sequence[int]]:
        """What the nine cells say: for each list of `World.cell_words`, nine places in it or `UNSAID`."""

    def to_open(self, rng: np.random.Generator) -> Sequence[Asked]:
        """Questions whose first steps are taught."""

    def to_answer(self, count: int, rng: np.random.Generator) -> Sequence[Asked]:
        """So many questions whose whole answers are taught."""

    def to_propose(self, rng: np.random.Generator) -> str:
        """A question that the Proposer is taught to ask."""


class World(Protocol):
    """Where a task's pictures and questions come from."""

    @property
    def labels(self) -> str:
        """`module:function` that gives true answers about training images, as the trainer's setting of that name."""

    @property
    def question_texts(self) -> Sequence[str]:
        """Every question that is taught."""

    @property
    def cell_words(self) -> Sequence[Sequence[str]]:
        """Lists of words, each a token as first steps have it (blanks and all), of which a cell says one each."""

    def texts(self) -> Iterable[str]:
        """Texts that hold every word of first steps and answers; numbers are words of every tokenizer."""

    def lessons(self, rng: np.random.Generator) -> Callable[[int], Sequence[LessonPicture]]:
        """What draws so many pictures to teach with."""

    def training_images(self, count: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
        """So many pictures to train on without labels, without a combination that is held out; each with its name."""

    def evaluation_questions(self, count: int, seed: int, *, held_out: bool) -> list[Asked]:
        """So many questions about other pictures, with combinations that are held out, or without."""

    def foreign(self, count: int, seed: int) -> Mapping[str, list[Asked]]:
        """Examinations that were made by others, of so many questions each, by name."""

    def scored(self, count: int, seed: int) -> list[Asked]:
        """So many questions that a checkpoint is scored on."""
