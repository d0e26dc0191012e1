"""Which questions count as near duplicates."""

import pytest

from ireasoner.audit.questions import near_duplicate_share


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
