"""Which questions count as near duplicates."""

import pytest

from ireasoner.audit.questions import alike_shares, near_duplicate_share


@pytest.mark.parametrize(
    ("questions", "share"),
    [
        ([], 0.0),
        (["What is the sum of row 1?"], 0.0),
        (["What is the sum of row 1?", "what is the sum of row 1"], 0.5),
        (["What is the sum of row 1?", "What is the sum of row 2?"], 0.0),
        (
            [
                "How many red cars are on the left side of the road?",
                "How many red cars are on the right side of the road?",
            ],
            0.5,
        ),
        (["How many dogs?", "Which is taller?", "How many dogs?", "How many dogs?"], 0.5),
    ],
)
def test_near_duplicates_are_counted_against_earlier_questions(questions: list[str], share: float) -> None:
    assert near_duplicate_share(questions) == share


ROW = "What is the sum of row {}?"
CHAIN = ["a b c d e f g h i", "b c d e f g h i j", "c d e f g h i j k"]
"""The first and the last are no near duplicates, but the second is one of both."""


@pytest.mark.parametrize(
    ("proposals", "shares"),
    [
        ([], []),
        ([None], [1.0]),
        ([None, None], [0.5, 0.5]),
        (["How many?"], [1.0]),
        (["How many?", "how MANY"], [1.0, 1.0]),
        (["Why?", "Why?", "Who?", None], [0.5, 0.5, 0.25, 0.25]),
        ([ROW.format(1), ROW.format(2)], [0.5, 0.5]),
        ([ROW.format(1), ROW.format(1), ROW.format(2), ROW.format(3)], [0.5, 0.5, 0.25, 0.25]),
        (CHAIN, [1.0, 1.0, 1.0]),
        ([CHAIN[0], CHAIN[2]], [0.5, 0.5]),
        (["?!", "...", "How many?"], [2 / 3, 2 / 3, 1 / 3]),
        (["有几个", "有几个", "是谁"], [2 / 3, 2 / 3, 1 / 3]),
    ],
)
def test_the_share_of_alike_proposals(proposals: list[str | None], shares: list[float]) -> None:
    assert alike_shares(proposals) == pytest.approx(shares)
    assert alike_shares(proposals[::-1]) == pytest.approx(shares[::-1])
