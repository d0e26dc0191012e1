"""Texts that a language model of 0.5 billion parameters wrote about grids of digits, sampled or greedy, as they are."""

import pytest

from ireasoner.reward_server.answers.canonical import forms_of
from ireasoner.reward_server.parsing.rollout import follows_format, parse_text
from ireasoner.reward_server.scoring_config import PAPER, ROBUST
from ireasoner.reward_server.wire import FinishReason

READ = [
    ("<think>3 + 4 + 8 = 15</think> <answer>15</answer>", "15", ["3 + 4 + 8 = 15"]),
    (
        "<think>Sum of row 2: 0 + 8 + 2 = 10</think> <answer>10</answer>",
        "10",
        ["Sum of row 2: 0 + 8 + 2 = 10"],
    ),
    (
        "<think>Sum the ends of row 3: 3 + 7 = 10.</think> <answer>10</answer>",
        "10",
        ["Sum the ends of row 3: 3 + 7 = 10."],
    ),
    (
        "The sum of row 1 is 7 + 6 + 7 = 20. <answer>20</answer>",
        "20",
        ["The sum of row 1 is 7 + 6 + 7 = 20."],
    ),
    ("<answer>9</answer>", "9", []),
    ("<answer>4 + 1 + 4 = 9</answer>", "9", []),
    ("<answer>2 + 1 + 8 = 11</answer>", "11", []),
    (
        "row 2 consists of the digits 8 and 7. <answer>15</answer>",
        "15",
        ["row 2 consists of the digits 8 and 7."],
    ),
    ("<think>Yes there is 9 in row 2.</think>\n<answer>18</answer>", "18", ["Yes there is 9 in row 2."]),
    (
        "<think>Calculate the sum of the diagonal from upper left to lower right.</think> <answer>18</answer>",
        "18",
        ["Calculate the sum of the diagonal from upper left to lower right."],
    ),
]
"""Each with the value of its answer and its steps."""

UNANSWERED: list[tuple[str, FinishReason, list[str]]] = [
    ("The sum of row 1 is 6.", "stop", ["The sum of row 1 is 6."]),
    ("The sum of column 2 is 1 + 0 + 2 = 3.", "stop", ["The sum of column 2 is 1 + 0 + 2 = 3."]),
    ("<think>4 + 3 + 3 = 10</think>", "stop", ["4 + 3 + 3 = 10"]),
    (
        "<think>Horizontal line 3 shows digits 9, 7, 3</think> - Total sum = 19",
        "stop",
        ["Horizontal line 3 shows digits 9, 7, 3"],
    ),
    (
        "<think>Find the sum of column 3 in this grid of digits.\nOutput: 16</answer>",
        "stop",
        ["Find the sum of column 3 in this grid of digits.", "Output: 16"],
    ),
    (
        "Let's approach this step-by-step:\n\n1. First, I'll count the digits in row 1:\n   - In row 1: 5, 3, 8\n\n"
        "2. Summing these digits:\n   - ",
        "length",
        [
            "Let's approach this step-by-step:",
            "First, I'll count the digits in row 1: - In row 1: 5, 3, 8",
            "Summing these digits: -",
        ],
    ),
    (
        "To determine the sum of the corners in the grid, we need to identify each corner and sum them up.\n"
        "Examining the grid:\nRow 1: 8, 4, 9\nRow 2: 1, ",
        "length",
        [
            "To determine the sum of the corners in the grid, we need to identify each corner and sum them up.",
            "Examining the grid:",
            "Row 1: 8, 4, 9 Row 2: 1,",
        ],
    ),
]
"""Each with how it ended and its steps; none has an answer."""


@pytest.mark.parametrize(("text", "value", "steps"), READ)
def test_answer_and_steps(text: str, value: str, steps: list[str]) -> None:
    for config in (PAPER, ROBUST):
        parsed = parse_text(text, config)
        assert parsed.flaw is None
        assert list(parsed.steps) == steps
        assert parsed.written is not None
        forms = forms_of({parsed.written, value}, ROBUST)
        assert forms[parsed.written].key == forms[value].key
    assert follows_format(text, PAPER) == text.startswith("<think>")


@pytest.mark.parametrize(("text", "finish", "steps"), UNANSWERED)
def test_no_answer_is_made_up(text: str, finish: FinishReason, steps: list[str]) -> None:
    for config in (PAPER, ROBUST):
        parsed = parse_text(text, config, finish)
        assert parsed.flaw == "no_answer"
        assert list(parsed.steps) == steps
