"""The questions about a grid: sums over a line of cells, the ends of a row, or the corners; or their remainders."""

from dataclasses import dataclass, replace
from typing import Literal

from ireasoner.trainer.worlds.digit_grids.grid import SIDE_CELLS, Grid
from ireasoner.trainer.worlds.world import Asked, Opening

Kind = Literal["row", "column", "diagonal", "ends", "corners"]


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

    def answer(self, digits: tuple[int, ...]) -> int:
        """The true answer."""
        return self.concluded(sum(self.operands(digits)))

    def concluded(self, total: int) -> int:
        """The answer that follows from a sum, right or wrong."""
        return total if self.modulus is None else total % self.modulus

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
            lambda total: str(self.concluded(total)),
        )


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

KINDS: tuple[Kind, ...] = tuple(dict.fromkeys(question.kind for question in QUESTIONS))


def find_question(text: str) -> Question | None:
    """The question with exactly this text; None if there is none."""
    return _BY_TEXT.get(text)


_BY_TEXT = {question.text: question for question in (*QUESTIONS, *REMAINDERS)}
