"""What a reward ranks, in groups written by hand."""

from PIL import Image

from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS
from replication.separation import Sampled, judged, majorities, separation
from tests.replication.test_evaluation import LUCKY, OTHER_ORDER, SOUND, WRONG


def group(*texts: str) -> Sampled:
    grid = Grid(Image.new("RGB", (84, 84)), (3, 5, 8, 0, 0, 0, 0, 0, 0))
    return judged(QUESTIONS[0].about(grid), list(texts))


def test_a_reward_is_compared_with_answers_and_with_steps() -> None:
    groups = [group(SOUND, LUCKY, WRONG), group(SOUND, OTHER_ORDER, WRONG)]
    assert groups[0].right == [True, True, False]
    assert groups[0].sound == [True, False, False]
    found = separation(groups, [[0.5, 0.9, 0.1], [0.2, 0.2, 0.9]])
    assert (found["right"]["mean"], found["right"]["groups"]) == (0.0, 2)
    assert (found["sound"]["mean"], found["sound"]["groups"]) == (-1.0, 1)


def test_a_missing_reward_is_not_compared() -> None:
    assert separation([group(SOUND, LUCKY, WRONG)], [[None, 0.9, 0.1]])["sound"] is None


def test_right_majorities_have_more_orders_than_wrong_ones_of_equal_size() -> None:
    many, one = group(SOUND, OTHER_ORDER, WRONG), group(WRONG, WRONG, SOUND)
    found = majorities([many, one] * 10)
    assert found["right_share"] == 0.5
    assert found["size"]["mean"] == 0.5
    assert found["orders"]["mean"] == 1.0
    assert majorities([many])["orders"] is None
