"""What a reward ranks, in groups written by hand."""

from dataclasses import replace

from PIL import Image

from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS
from replication.separation import Sampled, judged, majorities, markdown, ranking, separation
from replication.table import cell
from tests.replication.test_evaluation import LUCKY, OTHER_ORDER, SOUND, WRONG


def group(*texts: str, rest: int = 0) -> Sampled:
    """A group about the sum of 3, 5 and 8; other digits of the `rest` of the grid do not change its numbers."""
    grid = Grid(Image.new("RGB", (84, 84)), (3, 5, 8, *[rest] * 6))
    return judged(QUESTIONS[0].about(grid), list(texts))


def other(*texts: str) -> Sampled:
    """The same group, said to be about other numbers."""
    return replace(group(*texts), numbers=(1, 2, 3))


def test_a_reward_is_compared_with_answers_and_with_steps() -> None:
    groups = [group(SOUND, LUCKY, WRONG), group(SOUND, OTHER_ORDER, WRONG)]
    assert groups[0].right == [True, True, False]
    assert groups[0].sound == [True, False, False]
    found = separation(groups, [[0.5, 0.9, 0.1], [0.2, 0.2, 0.9]])
    assert (found["right"]["mean"], found["right"]["groups"]) == (0.0, 2)
    assert (found["sound"]["mean"], found["sound"]["groups"]) == (-1.0, 1)
    assert found["sound"]["low"] is None, "one question has no interval"


def test_groups_with_equal_rewards_rank_nothing_and_are_left_out() -> None:
    groups = [group(SOUND, LUCKY, WRONG), other(SOUND, LUCKY, WRONG), group(SOUND, LUCKY, WRONG)]
    found = separation(groups, [[0.5, 0.4, 0.1], [0.6, 0.6, 0.1], [0.3, 0.3, 0.3]])
    assert (found["right"]["mean"], found["right"]["groups"]) == (1.0, 2)
    assert found["flat"] == {"right": 1, "sound": 2}
    assert (found["sound"]["mean"], found["sound"]["groups"]) == (1.0, 1)
    assert separation(groups[1:], [[0.6, 0.6, 0.1], [0.3, 0.3, 0.3]])["sound"] is None


def test_questions_that_share_their_numbers_are_one_draw() -> None:
    groups = [group(SOUND, WRONG, rest=rest) for rest in range(10)]
    rewards = [[0.9, 0.1]] * 8 + [[0.1, 0.9]] * 2
    apart = [replace(one, numbers=(index,)) for index, one in enumerate(groups)]
    halves = [replace(one, numbers=(index % 2,)) for index, one in enumerate(groups)]
    wide, narrow = (separation(each, rewards)["right"] for each in (halves, apart))
    assert wide["mean"] == narrow["mean"] == 0.6
    assert (wide["low"], wide["high"]) != (narrow["low"], narrow["high"])
    assert len({one.numbers for one in groups}) == 1


def test_an_interval_stays_within_what_a_correlation_can_be_and_is_rounded() -> None:
    groups = [replace(group(SOUND, WRONG), numbers=(index,)) for index in range(10)]
    found = separation(groups, [[0.9, 0.1]] * 9 + [[0.1, 0.9]])["right"]
    assert (found["mean"], found["high"]) == (0.8, 1.0)
    assert found["low"] == round(found["low"], 4)


def test_of_tied_answers_each_is_the_majority_in_part_in_any_order() -> None:
    tied = [group(SOUND, OTHER_ORDER, WRONG, WRONG), group(WRONG, WRONG, OTHER_ORDER, SOUND)]
    for each in tied:
        assert majorities([each])["right_share"] == 0.5
    assert majorities([tied[0], group(SOUND, SOUND, WRONG)])["right_share"] == 0.75
    assert majorities(tied)["orders"]["mean"] == 1.0, "two orders lead to 16, one to 17"


def test_a_missing_reward_is_not_compared() -> None:
    assert separation([group(SOUND, LUCKY, WRONG)], [[None, 0.9, 0.1]])["sound"] is None


def test_right_majorities_have_more_orders_than_wrong_ones_of_equal_size() -> None:
    many, one = group(SOUND, OTHER_ORDER, WRONG), group(WRONG, WRONG, SOUND)
    found = majorities([many, one] * 10)
    assert found["right_share"] == 0.5
    assert found["size"]["mean"] == 0.5
    assert found["orders"]["mean"] == 1.0
    assert majorities([many])["orders"] is None


def test_the_tables_say_of_how_many_groups_a_correlation_is() -> None:
    groups = [group(SOUND, LUCKY, WRONG), other(SOUND, LUCKY, WRONG)]
    arms = [
        {"arm": name, **separation(groups, rewards)}
        for name, rewards in (
            ("outcome-only", [[0.6, 0.6, 0.1], [0.3, 0.3, 0.3]]),
            ("full", [[0.7, 0.6, 0.1], [0.8, 0.9, 0.1]]),
        )
    ]
    document = {
        "task": "sums",
        "commit": "0" * 40,
        "questions": 2,
        "samples": 3,
        "lucky_share": 0.5,
        "majorities": majorities(groups),
        "arms": arms,
    }
    shown = markdown(document)
    assert "| outcome-only | +1.000 | 1, 1 |  |  |" in shown
    assert "| 2, 0 | +0.000 [" in shown
    without_full = {**document, "task": "scenes", "arms": arms[:1]}
    assert ranking([without_full, document]).splitlines()[2:] == [
        "| right rollouts that are lucky | 0.500 | 0.500 |",
        "| *right above wrong*: outcome-only | +1.000 | +1.000 |",
        f"| *right above wrong*: full |  | {cell(arms[1]['right'], sign=True)} |",
        f"| *sound above lucky*: full |  | {cell(arms[1]['sound'], sign=True)} |",
    ]
