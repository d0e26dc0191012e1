"""The check of steps, on completions as the tiny model writes them."""

import numpy as np
import pytest
from PIL import Image

from ireasoner.trainer.tiny_model.completion import parse_completion
from ireasoner.trainer.tiny_model.worked_answer import FaultyAddition, worked_answer
from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS
from ireasoner.trainer.worlds.world import Opening
from replication.reasoning import addition_is_true, check

ROW = (Opening("Row 2 reads 3, 5, 8.", (3, 5, 8)),)
COUNTS = (
    Opening("The rows have 1, 0, 2 red shapes.", (1, 0, 2)),
    Opening("The columns have 2, 1, 0 red shapes.", (2, 1, 0)),
)
SHAPE = (Opening("The shape is a red circle."),)


def checked(steps: str, openings: tuple[Opening, ...] = ROW) -> tuple[int, int, int]:
    lines = "".join(f"Step {i}: {step}.\n" for i, step in enumerate(steps.split("; "), start=1))
    found = check(parse_completion(f"<think>\n{lines}</think>\n<answer>16</answer>"), openings)
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
    found = check(parse_completion(f"<think>\n{steps}</think>\n<answer>17</answer>"), ROW)
    assert found.true_share == pytest.approx(2 / 3)
    assert found.gold_share == pytest.approx(1 / 3)
    assert not found.all_true
    nothing = check(parse_completion("seventeen"), ROW)
    assert (nothing.true_share, nothing.gold_share, nothing.all_true) == (0.0, 0.0, False)


def test_extra_steps_lower_the_agreement_with_the_gold_steps() -> None:
    text = "".join(
        f"Step {i}: {s}.\n" for i, s in enumerate(["Row 2 reads 3, 5", "3 + 5 = 8", "8 + 0 = 8"], start=1)
    )
    found = check(
        parse_completion(f"<think>\n{text}</think>\n<answer>8</answer>"),
        (Opening("Row 2 reads 3, 5.", (3, 5)),),
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
        found = check(completion, asked.openings)
        wrong = sum(a + b != said for a, b, said in completion.additions)
        assert found.steps - found.true == wrong
        assert found.all_true == (found.gold_share == 1.0) == (wrong == 0)
        flawless += wrong == 0
        faulty += wrong > 0
    assert min(flawless, faulty) > 20


def test_the_truth_of_an_addition_in_a_parsed_step() -> None:
    assert addition_is_true("3 + 4 = 7.") is True
    assert addition_is_true("3 + 4 = 8.") is False
    assert addition_is_true("Row 2 reads 3, 4, 7.") is None
