"""The held-out combinations: sets of digits that a question adds up, in any order and line.

No training grid contains one in a line that a question can be about. The warm start did see them; the training without
labels does not.
"""

import zlib
from collections.abc import Iterator, Sequence

from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import Grid, random_grids
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, Question
from ireasoner.trainer.worlds.world import Asked

HELD_OUT_ONE_IN = 10
"""One combination of operands in this many is held out."""

_GRIDS_DRAWN = 100_000
"""Far more than are ever needed: at least one grid in five has no held-out combination."""


def is_held_out(operands: Sequence[int]) -> bool:
    """Whether these digits, in any order, are a held-out combination."""
    return zlib.crc32(bytes(sorted(operands))) % HELD_OUT_ONE_IN == 0


def training_grids(count: int, seed: int, questions: Sequence[Question] = QUESTIONS) -> Iterator[Grid]:
    """`count` grids of unlabelled digits without a held-out combination of any of the questions."""
    grids = random_grids(load_digits_part("unlabelled"), _GRIDS_DRAWN, seed)
    allowed = (g for g in grids if not any(is_held_out(q.operands(g.digits)) for q in questions))
    return (grid for _, grid in zip(range(count), allowed, strict=False))


def evaluation_questions(
    count: int, seed: int, questions: Sequence[Question], *, held_out: bool
) -> list[Asked]:
    """`count` questions about grids of held-out digits, each question about equally often.

    Args:
        count: Number of questions.
        seed: Seed of the grids; another seed gives other grids of the same digit images.
        questions: The questions to choose from.
        held_out: Whether all their operands are held-out combinations, or none are.
    """
    grids = random_grids(load_digits_part("held-out"), _GRIDS_DRAWN, seed)
    asked: list[Asked] = []
    while len(asked) < count:
        question = questions[len(asked) % len(questions)]
        grid = next(g for g in grids if is_held_out(question.operands(g.digits)) == held_out)
        asked.append(question.about(grid))
    return asked
