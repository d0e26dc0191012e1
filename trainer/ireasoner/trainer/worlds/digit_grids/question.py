"""The questions about a grid: sums over a line of cells, the ends of a row, or the corners; or their remainders.

Or the parity of the six cells of two lines, which are read one a step.
"""

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from ireasoner.trainer.worlds.digit_grids.grid import SIDE_CELLS, Grid
from ireasoner.trainer.worlds.world import CELLS, Asked, Opening, Reading

Kind = Literal["row", "column", "diagonal", "ends", "corners", "rows", "columns"]


@dataclass(frozen=True)
class Question:
    """A sum over `cells` (row-major indices), which `subject` names in the question, in lower case.

    With a `modulus`, the question is about the remainder of the sum.
    """

    kind: Kind
    subject: str
    cells: tuple[int, ...]
    modulus: int | None = None

    @property
    def text(self) -> str:
        """The question as the Solver gets it."""
        modulo = "" if self.modulus is None else f" modulo {self.modulus}"
        return f"What is the sum of {self.subject}{modulo}?"

    def operands(self, digits: tuple[int, ...]) -> tuple[int, ...]:
        """The digits to add, in reading order."""
        return tuple(digits[cell] for cell in self.cells)

    def answer(self, digits: tuple[int, ...]) -> str:
        """The true answer."""
        return self.concluded(sum(self.operands(digits)))

    def concluded(self, total: int) -> str:
        """The answer that follows from a sum, right or wrong."""
        return str(total if self.modulus is None else total % self.modulus)

    def openings(self, digits: tuple[int, ...]) -> tuple[Opening]:
        """The first step, which reads the digits in reading order."""
        subject = self.subject[0].upper() + self.subject[1:]
        verb = "read" if self.kind in ("ends", "corners") else "reads"
        operands = self.operands(digits)
        return (Opening(f"{subject} {verb} {', '.join(map(str, operands))}.", operands),)

    def about(self, grid: Grid) -> Asked:
        """The question asked about a grid."""
        return Asked(
            grid.image,
            self.kind,
            self.text,
            self.openings(grid.digits),
            self.concluded,
        )


@dataclass(frozen=True)
class Parity(Question):
    """Whether the sum over `cells` is odd or even; each step reads one of them, in reading order, and adds it up."""

    @property
    def text(self) -> str:
        """The question as the Solver gets it."""
        return f"Is the sum of {self.subject} odd or even?"

    def concluded(self, total: int) -> str:
        """The answer that follows from a sum, right or wrong."""
        return "odd" if total % 2 else "even"

    def readings(self, digits: tuple[int, ...]) -> tuple[Reading, ...]:
        """Every step."""
        return tuple(Reading(f"Cell {cell + 1}", digits[cell]) for cell in self.cells)

    def openings(self, digits: tuple[int, ...]) -> tuple[Opening]:
        """The first step, which reads one digit; nothing is added."""
        first = self.readings(digits)[0]
        return (Opening(f"{first.subject} reads {first.number}: {self.concluded(first.number)}."),)

    def about(self, grid: Grid) -> Asked:
        """The question asked about a grid."""
        return replace(super().about(grid), readings=self.readings(grid.digits))


def _every_question() -> tuple[Question, ...]:
    n = SIDE_CELLS
    rows = [Question("row", f"row {r + 1}", tuple(r * n + c for c in range(n))) for r in range(n)]
    columns = [Question("column", f"column {c + 1}", tuple(r * n + c for r in range(n))) for c in range(n)]
    diagonals = [
        Question("diagonal", "the falling diagonal", tuple(i * n + i for i in range(n))),
        Question("diagonal", "the rising diagonal", tuple((n - 1 - i) * n + i for i in range(n))),
    ]
    ends = [Question("ends", f"the ends of row {r + 1}", (r * n, r * n + n - 1)) for r in range(n)]
    corners = [Question("corners", "the corners", (0, n - 1, n * (n - 1), n * n - 1))]
    return (*rows, *columns, *diagonals, *ends, *corners)


QUESTIONS: tuple[Question, ...] = _every_question()
"""The sums."""

REMAINDERS: tuple[Question, ...] = tuple(replace(question, modulus=3) for question in QUESTIONS)
"""The same sums modulo 3: a wrong sum often has the right remainder."""


def _every_parity() -> tuple[Parity, ...]:
    cells = np.arange(CELLS).reshape(SIDE_CELLS, SIDE_CELLS)
    lines: tuple[tuple[Kind, npt.NDArray[np.int64]], ...] = (("rows", cells), ("columns", cells.T))
    return tuple(
        Parity(kind, f"{kind} {a + 1} and {b + 1}", tuple(sorted(map(int, (*of[a], *of[b])))))
        for kind, of in lines
        for a, b in combinations(range(SIDE_CELLS), 2)
    )


READINGS: tuple[Parity, ...] = _every_parity()
"""Parities of six cells: of many right answers the readings are wrong, and two samples seldom misread alike."""

KINDS: tuple[Kind, ...] = tuple(dict.fromkeys(question.kind for question in QUESTIONS))


def find_question(text: str) -> Question | None:
    """The question with exactly this text; None if there is none."""
    return _BY_TEXT.get(text)


_BY_TEXT = {question.text: question for question in (*QUESTIONS, *REMAINDERS, *READINGS)}
