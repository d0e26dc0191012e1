"""What proposals are paid, by hand: uncertainty less the share of alike questions."""

from collections.abc import Sequence
from typing import Any

import pytest

from ireasoner.clients import ScoredGroup
from ireasoner.trainer.rewards.proposer_reward import proposal_rewards
from ireasoner.trainer.settings import RewardSettings

A, ALIKE, B = "What is the sum of row 2?", "What is the sum of row 2", "Which cell is the largest?"


def scored(share: float, reward: float | None = None) -> ScoredGroup:
    """A group with this dominant share; by default it is paid 1 - 2 |p - 1/2|."""
    paid = 1 - 2 * abs(share - 0.5) if reward is None else reward
    return ScoredGroup("g", "ok", "7", False, share, share, 0.5, paid, (), ())


def unjudged() -> ScoredGroup:
    return ScoredGroup("g", "ok", None, False, 0.0, 0.0, None, None, (), ())


FOUR: list[str | None] = [A, ALIKE, B, None]
SCORES = [scored(0.5), scored(0.9), scored(0.8), None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [1.0, 0.2, 0.4, 0.0]),
        ({"repetition_penalty": 1.0}, [0.5, 0.0, 0.15, 0.0]),  # R-Zero's paper
        ({"repetition_penalty": 0.2}, [0.9, 0.1, 0.35, 0.0]),
        ({"proposer": "minority_share"}, [0.5, 0.1, 0.2, -1.0]),
        ({"proposer": "minority_share", "repetition_penalty": 1.0}, [0.0, -0.4, -0.05, -1.0]),  # their code
    ],
)
def test_four_proposals(fields: dict[str, Any], expected: Sequence[float]) -> None:
    assert proposal_rewards(FOUR, SCORES, RewardSettings(**fields)) == pytest.approx(expected)


@pytest.mark.parametrize("proposer", ["scored", "minority_share"])
def test_answers_that_cannot_be_judged_give_no_reward(proposer: Any) -> None:
    settings = RewardSettings(proposer=proposer, repetition_penalty=1.0)
    assert proposal_rewards([A], [unjudged()], settings) == [None]


def test_the_penalty_does_not_depend_on_the_order() -> None:
    settings = RewardSettings(repetition_penalty=1.0)
    forward = proposal_rewards(FOUR, SCORES, settings)
    assert proposal_rewards(FOUR[::-1], SCORES[::-1], settings) == forward[::-1]


def test_a_repeated_question_is_never_paid_more_than_a_new_one() -> None:
    """Eight proposals: the more of them ask the same, the less each earns, down to what no question earns."""
    settings = RewardSettings(repetition_penalty=1.0)
    paid = []
    for repeated in range(1, 9):
        questions = [A] * repeated + [f"Is object {n} of kind {n} red?" for n in range(8 - repeated)]
        paid.append(proposal_rewards(questions, [scored(0.5)] * 8, settings)[0])
    assert paid == pytest.approx([1 - n / 8 for n in range(1, 9)])
