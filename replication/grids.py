"""The images: grids to train on, and labelled questions to be examined on, also about digits never met together.

What is held out are combinations of operands: the digits that a question adds up, in whatever order and line. No grid
to train on holds one of these in any line that it can be asked about. (The warm start has met them, like all others; it
is the training without labels that has not.)
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.digit_grids.digits import load_digits_part
from trainer.digit_grids.grid import Grid, random_grids
from trainer.digit_grids.question import QUESTIONS, Question
from trainer.questions import Question as LabelledQuestion

HELD_OUT_ONE_IN = 10
"""One combination of operands in so many is held out."""

_GRIDS_DRAWN = 100_000
"""Far more than are ever taken: at least one grid in five has no combination that is held out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a grid."""

    grid: Grid
    question: Question

    @property
    def operands(self) -> tuple[int, ...]:
        """The digits to be added, in reading order."""
        return self.question.operands(self.grid.digits)

    @property
    def answer(self) -> int:
        """The true answer."""
        return self.question.answer(self.grid.digits)

    @property
    def labelled(self) -> LabelledQuestion:
        """The question with its true answer."""
        return LabelledQuestion(Path(), self.question.text, str(self.answer))


def is_held_out(operands: Sequence[int]) -> bool:
    """Whether these digits, in any order, are a combination that no training grid may hold."""
    return zlib.crc32(bytes(sorted(operands))) % HELD_OUT_ONE_IN == 0


def training_grids(count: int, seed: int) -> Iterator[Grid]:
    """`count` grids of unlabelled digits, without a combination of operands that is held out."""
    grids = random_grids(load_digits_part("unlabelled"), _GRIDS_DRAWN, seed)
    allowed = (g for g in grids if not any(is_held_out(q.operands(g.digits)) for q in QUESTIONS))
    return (grid for _, grid in zip(range(count), allowed, strict=False))


def examination(
    count: int, seed: int, questions: Sequence[Question] = QUESTIONS, *, held_out: bool
) -> list[Asked]:
    """`count` questions about grids of held-out digits, of every kind about equally many.

    Args:
        count: How many.
        seed: Seed of the grids; those of another seed are other grids, of the same digit images.
        questions: What is asked, each about equally often.
        held_out: Whether all their operands are combinations that are held out, or none.
    """
    grids = random_grids(load_digits_part("held-out"), _GRIDS_DRAWN, seed)
    asked: list[Asked] = []
    while len(asked) < count:
        question = questions[len(asked) % len(questions)]
        found = (Asked(grid, question) for grid in grids)
        asked.append(next(one for one in found if is_held_out(one.operands) == held_out))
    return asked


def write_images(folder: Path, count: int, seed: int) -> None:
    """`count` training grids as PNG files, and nothing else; done if they are there."""
    if folder.is_dir():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for number, grid in enumerate(training_grids(count, seed)):
        grid.image.save(partial / f"grid-{number:05d}.png")
    partial.rename(folder)
