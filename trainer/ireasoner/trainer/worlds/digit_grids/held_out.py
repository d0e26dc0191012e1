"""The held-out combinations: sets of digits that a question adds up, in any order and line.

No training grid contains one in a line that a question can be about. The warm start did see them; the training without
labels does not.
"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, islice

from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import Grid, random_grids
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, Question
from ireasoner.trainer.worlds.world import CELLS, Asked

HELD_OUT_ONE_IN = 5
"""One combination of operands in this many is held out."""

_GRIDS_DRAWN = 100_000
"""Far more than are ever needed: one grid in fourteen has no held-out combination."""


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

    Questions about one combination are right or wrong together, so each held-out one is asked about once. There are as
    many of these questions as combinations, if that is fewer than `count`.

    Args:
        count: Number of questions.
        seed: Seed of the grids; another seed gives other grids of the same digit images.
        questions: The questions to choose from.
        held_out: Whether all their operands are held-out combinations, or none are.
    """
    grids = random_grids(load_digits_part("held-out"), _GRIDS_DRAWN, seed)
    if held_out:
        return list(islice(_one_of_each(grids, questions), count))
    asked: list[Asked] = []
    while len(asked) < count:
        question = questions[len(asked) % len(questions)]
        grid = next(g for g in grids if not is_held_out(question.operands(g.digits)))
        asked.append(question.about(grid))
    return asked


def _one_of_each(grids: Iterator[Grid], questions: Sequence[Question]) -> Iterator[Asked]:
    """One question about each held-out combination; a question that has asked about all of its own is left out."""
    left = _held_out_combinations(questions)
    while open_questions := [question for question in questions if left[_operands(question)]]:
        for question in open_questions:
            unasked = left[_operands(question)]
            if unasked:
                grid = next(g for g in grids if tuple(sorted(question.operands(g.digits))) in unasked)
                unasked.remove(tuple(sorted(question.operands(grid.digits))))
                yield question.about(grid)


def _held_out_combinations(questions: Sequence[Question]) -> dict[int, set[tuple[int, ...]]]:
    """The held-out combinations of digits, by their number of digits."""
    return {
        size: {tuple(found) for found in combinations_with_replacement(range(10), size) if is_held_out(found)}
        for size in {_operands(question) for question in questions}
    }


def _operands(question: Question) -> int:
    """Number of digits that a question adds up."""
    return len(question.operands(tuple(range(CELLS))))
