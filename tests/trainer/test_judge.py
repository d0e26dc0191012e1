"""The score in a judge's reply: a number in [0, 1], or none."""

import pytest

from ireasoner.trainer.rewards.judge import judge_messages, parse_score
from ireasoner.trainer.rollouts.prompts import text_of


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("<answer>0.7</answer>", 0.7),
        ("<think>\nStep 1: right.\n</think>\n<answer>1</answer>", 1.0),
        ("<answer> 0 </answer>", 0.0),
        ("<ANSWER>1.0</ANSWER>", 1.0),
        ("<answer>\n0.05\n</answer>", 0.05),
        ("<answer>.5</answer>", 0.5),
        ("<answer>0.</answer>", None),
        ("<answer>7</answer>", None),
        ("<answer>1.2</answer>", None),
        ("<answer>-0.1</answer>", None),
        ("<answer>70%</answer>", None),
        ("<answer>7/10</answer>", None),
        ("<answer>0,7</answer>", None),
        ("<answer>1e-1</answer>", None),
        ("<answer>nan</answer>", None),
        ("<answer>inf</answer>", None),
        ("<answer>٠.٥</answer>", None),
        ("<answer>0_1</answer>", None),
        ("<answer>about 0.7</answer>", None),
        ("<answer></answer>", None),
        ("<answer>0.7", None),
        ("0.7", None),
        ("", None),
        ("<answer>0.7</answer> or <answer>0.2</answer>", None),
        ("It says <answer>7</answer>. <answer>0.2</answer>", None),
    ],
)
def test_a_score_is_read_strictly(reply: str, score: float | None) -> None:
    assert parse_score(reply) == score


def test_the_judge_sees_question_and_reply() -> None:
    text = text_of(judge_messages("How many?", "<think>I count.</think><answer>7</answer>"))
    assert text.endswith("\nQuestion: How many?\nReply: <think>I count.</think><answer>7</answer>")
