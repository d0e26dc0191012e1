"""The held-out combinations: no training grid contains one, and an evaluation has only them or none."""

from collections import Counter
from itertools import combinations_with_replacement, permutations
from pathlib import Path

from ireasoner.trainer.worlds.digit_grids.held_out import evaluation_questions, is_held_out, training_grids
from ireasoner.trainer.worlds.digit_grids.labels import digits_in
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, REMAINDERS
from ireasoner.trainer.worlds.digit_grids.world import DigitGrids
from ireasoner.trainer.worlds.world import Asked
from replication.images import write_images


def operands(asked: Asked) -> tuple[int, ...]:
    [opening] = asked.openings
    return opening.operands


def test_one_combination_in_five_is_held_out_in_any_order() -> None:
    triples = list(combinations_with_replacement(range(10), 3))
    share = sum(map(is_held_out, triples)) / len(triples)
    assert 0.15 < share < 0.25
    for triple in triples[::17]:
        assert len({is_held_out(order) for order in permutations(triple)}) == 1


def test_no_training_grid_contains_a_held_out_combination() -> None:
    grids = list(training_grids(20, seed=0))
    assert len(grids) == 20
    assert not any(is_held_out(question.operands(grid.digits)) for grid in grids for question in QUESTIONS)


def test_evaluation_questions_are_all_held_out_or_none_and_of_every_kind() -> None:
    for held_out in (False, True):
        asked = evaluation_questions(48, 1, QUESTIONS, held_out=held_out)
        assert {is_held_out(operands(one)) for one in asked} == {held_out}
        assert set(Counter(one.text for one in asked).values()) == {4}
        assert len({one.numbers for one in asked}) == 48 or not held_out
    remainders = evaluation_questions(24, 1, REMAINDERS, held_out=False)
    assert {one.text for one in remainders} == {question.text for question in REMAINDERS}
    assert all(one.answer == str(sum(operands(one)) % 3) for one in remainders)
    again = evaluation_questions(48, 1, QUESTIONS, held_out=True)
    assert [one.image.tobytes() for one in again] == [one.image.tobytes() for one in asked]


def test_each_held_out_combination_is_asked_about_once() -> None:
    """There are 13 pairs, 42 triples and 142 sets of four; once the pairs are used up, the others go on."""
    asked = evaluation_questions(100, 1, QUESTIONS, held_out=True)
    assert len(asked) == len({one.numbers for one in asked}) == 100
    sizes = Counter(len(one.numbers) for one in asked)
    assert (sizes[2], sizes[3]) == (13, 42)
    pairs = [question for question in QUESTIONS if len(question.cells) == 2]
    assert len(evaluation_questions(100, 1, pairs, held_out=True)) == 13


def test_images_are_written_once_and_their_digits_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "grids"
    write_images(folder, DigitGrids(QUESTIONS), 3, seed=0)
    files = sorted(folder.iterdir())
    assert [digits_in(file) for file in files] == [grid.digits for grid in training_grids(3, seed=0)]
    before = [file.stat().st_mtime_ns for file in files]
    write_images(folder, DigitGrids(QUESTIONS), 3, seed=0)
    assert [file.stat().st_mtime_ns for file in files] == before
