"""What is held out: combinations of operands, the digits that a question adds up, in whatever order and line.

No grid to train on holds one of these in any line that it can be asked about. (The warm start has met them, like all
others; it is the training without labels that has not.)
"""

import zlib
from collections.abc import Iterator, Sequence

from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import Grid, random_grids
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, Question
from ireasoner.trainer.worlds.world import Asked

HELD_OUT_ONE_IN = 10
"""One combination of operands in so many is held out."""

_GRIDS_DRAWN = 100_000
"""Far more than are ever taken: at least one grid in five has no combination that is held out."""


def is_held_out(operands: Sequence[int]) -> bool:
    """Whether these digits, in any order, are a combination that no training grid may hold."""
    return zlib.crc32(bytes(sorted(operands))) % HELD_OUT_ONE_IN == 0


def training_grids(count: int, seed: int) -> Iterator[Grid]:
    """`count` grids of unlabelled digits, without a combination of operands that is held out."""
    grids = random_grids(load_digits_part("unlabelled"), _GRIDS_DRAWN, seed)
    allowed = (g for g in grids if not any(is_held_out(q.operands(g.digits)) for q in QUESTIONS))
    return (grid for _, grid in zip(range(count), allowed, strict=False))


def evaluation_questions(
    count: int, seed: int, questions: Sequence[Question], *, held_out: bool
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
        grid = next(g for g in grids if is_held_out(question.operands(g.digits)) == held_out)
        asked.append(question.about(grid))
    return asked
