"""Grids of digits as a world: pictures and questions for the warm start, training and evaluation."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ireasoner.trainer.worlds.digit_grids.cell import distort, draw_cell
from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.folders import held_out as drawn_held_out
from ireasoner.trainer.worlds.digit_grids.grid import Grid, draw_grid
from ireasoner.trainer.worlds.digit_grids.held_out import evaluation_questions, training_grids
from ireasoner.trainer.worlds.digit_grids.question import Question
from ireasoner.trainer.worlds.world import CELLS, Asked, first_step

_HANDS = 48
"""Distorted copies of each digit image for the grids of the warm start."""


@dataclass(frozen=True)
class DigitGrids:
    """Grids of handwritten digits, with the given questions about them."""

    questions: tuple[Question, ...]

    labels = "ireasoner.trainer.worlds.digit_grids.labels:answer"
    cell_words = (tuple(map(str, range(10))),)

    @property
    def question_texts(self) -> Sequence[str]:
        """The text of each question."""
        return [question.text for question in self.questions]

    def texts(self) -> Iterable[str]:
        """The first steps of all questions about one grid, and the answers that are words."""
        for question in self.questions:
            yield from map(first_step, question.openings(tuple(range(CELLS))))
            yield from (f"<answer>{question.concluded(total)}</answer>" for total in range(2))

    def lessons(self, rng: np.random.Generator) -> "Callable[[int], Sequence[LessonGrid]]":
        """Grids of warm-start digits in many handwritings."""
        digits = load_digits_part("warm-start")
        cells = np.stack([[distort(cell, rng) for _ in range(_HANDS)] for cell in map(draw_cell, digits.ink)])

        def draw(count: int) -> list[LessonGrid]:
            chosen = rng.integers(len(digits), size=(count, CELLS))
            hands = rng.integers(_HANDS, size=(count, CELLS))
            return [
                LessonGrid(Grid(draw_grid(drawn), tuple(map(int, labels))), self.questions)
                for drawn, labels in zip(cells[chosen, hands], digits.label[chosen], strict=True)
            ]

        return draw

    def training_images(self, count: int, seed: int) -> Iterator[tuple[str, Image.Image]]:
        """Grids of unlabelled digits without a held-out combination of operands."""
        for number, grid in enumerate(training_grids(count, seed, self.questions)):
            yield f"grid-{number:05d}", grid.image

    def evaluation_questions(self, count: int, seed: int, *, held_out: bool) -> list[Asked]:
        """Questions about grids of held-out digits, each about equally often."""
        return evaluation_questions(count, seed, self.questions, held_out=held_out)

    def foreign(self, count: int, seed: int) -> Mapping[str, list[Asked]]:
        """None."""
        return {}

    def scored(self, count: int, seed: int) -> list[Asked]:
        """Questions about grids of held-out digits, each about equally often, in random order."""
        return [question.about(grid) for grid, question in drawn_held_out(count, seed, self.questions)]


@dataclass(frozen=True)
class LessonGrid:
    """A grid for the warm start, and the questions."""

    grid: Grid
    questions: tuple[Question, ...]

    @property
    def image(self) -> Image.Image:
        """The grid's picture."""
        return self.grid.image

    @property
    def words(self) -> Sequence[Sequence[int]]:
        """Every cell shows its digit."""
        return [self.grid.digits]

    def to_open(self, rng: np.random.Generator) -> Sequence[Asked]:
        """Every question."""
        return [question.about(self.grid) for question in self.questions]

    def to_answer(self, count: int, rng: np.random.Generator) -> Sequence[Asked]:
        """`count` different questions."""
        chosen = rng.choice(len(self.questions), size=count, replace=False)
        return [self.questions[index].about(self.grid) for index in chosen]

    def to_propose(self, rng: np.random.Generator) -> str:
        """Any question."""
        return self.questions[rng.integers(len(self.questions))].text
