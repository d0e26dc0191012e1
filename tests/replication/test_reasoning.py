"""The check of steps, on completions as the tiny model writes them."""

import numpy as np
import pytest
from PIL import Image

from ireasoner.trainer.tiny_model.completion import parse_completion
from ireasoner.trainer.tiny_model.worked_answer import FaultyAddition, worked_answer
from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, READINGS
from ireasoner.trainer.worlds.world import Asked, Opening
from replication.reasoning import StepTruth, check, steps_true

ROW = (Opening("Row 2 reads 3, 5, 8.", (3, 5, 8)),)
COUNTS = (
    Opening("The rows have 1, 0, 2 red shapes.", (1, 0, 2)),
    Opening("The columns have 2, 1, 0 red shapes.", (2, 1, 0)),
)
SHAPE = (Opening("The shape is a red circle."),)


def about(openings: tuple[Opening, ...]) -> Asked:
    return Asked(Image.new("RGB", (84, 84)), "row", "What is it?", openings, str)


def check_steps(steps: str, openings: tuple[Opening, ...] = ROW) -> StepTruth:
    lines = "".join(f"Step {i}: {step}.\n" for i, step in enumerate(steps.split("; "), start=1))
    return check(parse_completion(f"<think>\n{lines}</think>\n<answer>16</answer>"), about(openings))


def checked(steps: str, openings: tuple[Opening, ...] = ROW) -> tuple[int, int, int]:
    found = check_steps(steps, openings)
    return found.steps, found.true, found.gold


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("Row 2 reads 3, 5, 8; 8 + 3 = 11; 11 + 5 = 16", (3, 3, 3)),
        ("Row 2 reads 3, 5, 8; 5 + 8 = 13; 13 + 3 = 16", (3, 3, 3)),
        ("Row 2 reads 3, 5, 8; 8 + 3 = 12; 12 + 5 = 17", (3, 2, 1)),  # true from a wrong total: not gold
        ("Row 2 reads 3, 5, 8; 8 + 3 = 12; 12 + 5 = 16", (3, 1, 1)),  # a lucky answer
        (
            "Row 2 reads 3, 5, 9; 3 + 5 = 8; 8 + 9 = 17",
            (3, 2, 0),
        ),  # misread: nothing is derived from the image
        ("Row 2 reads 3, 5, 8; 3 + 3 = 6; 6 + 8 = 14", (3, 3, 1)),  # one operand used twice
        ("Row 2 reads 3, 5, 8; 8 + 3 = 11", (2, 2, 2)),
    ],
)
def test_true_and_gold_steps(steps: str, expected: tuple[int, int, int]) -> None:
    assert checked(steps) == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("The rows have 1, 0, 2 red shapes; 2 + 1 = 3; 3 + 0 = 3", (3, 3, 3)),
        ("The columns have 2, 1, 0 red shapes; 2 + 1 = 3; 3 + 0 = 3", (3, 3, 3)),
        ("The columns have 1, 1, 1 red shapes; 1 + 1 = 2; 2 + 1 = 3", (3, 2, 0)),
        ("The columns have 1, 0, 2 red shapes; 2 + 1 = 3; 3 + 0 = 3", (3, 2, 0)),  # the rows' counts
    ],
)
def test_any_true_first_step_is_accepted(steps: str, expected: tuple[int, int, int]) -> None:
    assert checked(steps, COUNTS) == expected


def test_a_first_step_without_numbers_must_match_word_by_word() -> None:
    assert checked("The shape is a red circle", SHAPE) == (1, 1, 1)
    assert checked("The shape is a red triangle", SHAPE) == (1, 0, 0)
    assert checked("The shape is a red circle; 1 + 2 = 3", SHAPE) == (2, 2, 1)


def test_shares() -> None:
    steps = "Step 1: Row 2 reads 3, 5, 8.\nStep 2: 8 + 3 = 12.\nStep 3: 12 + 5 = 17.\n"
    found = check(parse_completion(f"<think>\n{steps}</think>\n<answer>17</answer>"), about(ROW))
    assert found.true_share == pytest.approx(2 / 3)
    assert found.gold_share == pytest.approx(1 / 3)
    assert not found.sound
    nothing = check(parse_completion("seventeen"), about(ROW))
    assert (nothing.true_share, nothing.gold_share, nothing.sound) == (0.0, 0.0, False)


@pytest.mark.parametrize(
    ("steps", "sound"),
    [
        ("Row 2 reads 3, 5, 8; 8 + 3 = 11; 11 + 5 = 16", True),
        ("Row 2 reads 3, 5, 8; 5 + 3 = 8; 8 + 8 = 16", True),
        ("Row 2 reads 3, 5, 8; 3 + 5 = 8; 5 + 11 = 16", False),  # true, and 11 comes from nowhere
        ("Row 2 reads 3, 5, 8; 2 + 2 = 4; 8 + 8 = 16", False),  # true, and about nothing in the row
        ("Row 2 reads 3, 5, 8; 8 + 3 = 11; 11 + 5 = 16; 1 + 1 = 2", False),  # one true step too many
        ("Row 2 reads 3, 5, 8; 8 + 3 = 11; 11 + 5 = 16; 16 + 0 = 16", False),
        ("Row 2 reads 3, 5, 8; 8 + 3 = 11", False),  # true, and not to the end
        ("Row 2 reads 3, 5, 8", False),
        ("Row 2 reads 3, 5, 8; 8 + 8 = 16", False),  # there is one 8
        ("Row 2 reads 3, 5, 8; 8 + 3 = 12; 12 + 5 = 17", False),
        ("Row 2 reads 3, 5, 9; 3 + 5 = 8; 8 + 9 = 17", False),
    ],
)
def test_steps_are_sound_if_they_are_a_right_derivation_and_nothing_else(steps: str, sound: bool) -> None:
    assert check_steps(steps).sound == sound


def test_four_numbers_may_be_added_in_pairs() -> None:
    corners = (Opening("The corners read 3, 5, 8, 5.", (3, 5, 8, 5)),)
    assert check_steps("The corners read 3, 5, 8, 5; 3 + 5 = 8; 8 + 5 = 13; 13 + 8 = 21", corners).sound
    assert check_steps("The corners read 3, 5, 8, 5; 3 + 5 = 8; 5 + 8 = 13; 8 + 13 = 21", corners).sound
    assert not check_steps("The corners read 3, 5, 8, 5; 5 + 5 = 10; 5 + 8 = 13; 13 + 3 = 16", corners).sound


# 3, 1, 4, 1, 5, 9: each step says whether the sum so far is odd or even.
CELLS = "; ".join(
    f"Cell {cell} reads {said}"
    for cell, said in enumerate(("3: odd", "1: even", "4: even", "1: odd", "5: even", "9: odd"), start=1)
)


@pytest.mark.parametrize(
    ("steps", "expected", "sound"),
    [
        (CELLS, (6, 6, 6), True),
        (CELLS.replace("Cell 3 reads 4", "Cell 3 reads 8"), (6, 5, 2), False),  # the parity is right by luck
        (CELLS.replace("Cell 1 reads 3", "Cell 1 reads 1"), (6, 5, 0), False),
        (CELLS.replace("4: even", "4: odd"), (6, 5, 2), False),  # read right, and added up wrong
        (
            "Cell 1 reads 2: even; Cell 2 reads 1: odd; Cell 3 reads 4: odd; Cell 4 reads 1: even; "
            "Cell 5 reads 5: odd; Cell 6 reads 9: even",
            (6, 5, 0),
            False,
        ),  # all follow from one misreading
        (CELLS.rpartition("; ")[0], (5, 5, 5), False),  # one cell is missing
        (f"{CELLS}; Cell 6 reads 9: odd", (7, 6, 6), False),  # one cell is read twice
        (CELLS.replace("Cell 6 reads 9", "Cell 7 reads 9"), (6, 5, 5), False),  # a cell of another row
        (CELLS.replace("Cell 2 reads 1: even", "I look at it"), (6, 1, 1), False),
    ],
)
def test_where_every_step_reads_one_cell(steps: str, expected: tuple[int, int, int], sound: bool) -> None:
    grid = Grid(Image.new("RGB", (84, 84)), (3, 1, 4, 1, 5, 9, 2, 6, 5))
    lines = "".join(f"Step {i}: {step}.\n" for i, step in enumerate(steps.split("; "), start=1))
    found = check(
        parse_completion(f"<think>\n{lines}</think>\n<answer>odd</answer>"), READINGS[0].about(grid)
    )
    assert (found.steps, found.true, found.gold) == expected
    assert found.sound == sound


def test_extra_steps_lower_the_agreement_with_the_gold_steps() -> None:
    text = "".join(
        f"Step {i}: {s}.\n" for i, s in enumerate(["Row 2 reads 3, 5", "3 + 5 = 8", "8 + 0 = 8"], start=1)
    )
    found = check(
        parse_completion(f"<think>\n{text}</think>\n<answer>8</answer>"),
        about((Opening("Row 2 reads 3, 5.", (3, 5)),)),
    )
    assert found.gold == 2
    assert found.gold_share == pytest.approx(2 / 3)


def test_a_worked_answer_is_all_gold_if_and_only_if_its_additions_are_right() -> None:
    """On the worked answers of the warm start, the check agrees with the additions in them."""
    rng = np.random.default_rng(0)
    addition = FaultyAddition(seed=0)
    flawless = faulty = 0
    for _ in range(200):
        digits = tuple(int(digit) for digit in rng.integers(0, 10, 9))
        question = QUESTIONS[rng.integers(len(QUESTIONS))]
        asked = question.about(Grid(Image.new("RGB", (84, 84)), digits))
        completion = parse_completion(worked_answer(asked, addition, rng))
        found = check(completion, asked)
        wrong = sum(a + b != said for a, b, said in completion.additions)
        assert found.steps - found.true == wrong
        assert found.sound == (found.gold_share == 1.0) == (wrong == 0)
        flawless += wrong == 0
        faulty += wrong > 0
    assert min(flawless, faulty) > 20


def test_the_truth_of_each_step() -> None:
    assert steps_true(["3 + 4 = 7.", "3 + 4 = 8.", "Row 2 reads 3, 4, 7."], None) == [True, False, None]
    grid = Grid(Image.new("RGB", (84, 84)), (3, 1, 4, 1, 5, 9, 2, 6, 5))
    asked = READINGS[0].about(grid)
    steps = ["Cell 1 reads 3: odd.", "Cell 2 reads 2: odd.", "Cell 3 reads 4: odd.", "Cell 4 reads 1: odd."]
    assert steps_true(steps, asked) == [True, False, True, False]
    assert steps_true([*asked.true_readings, "3 + 4 = 7."], asked) == [True] * 6 + [False]
