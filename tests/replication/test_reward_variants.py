"""The controls as rewards, on groups like those of the training loop."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.clients import Group as PostedGroup
from ireasoner.clients import RewardClient, ScoredGroup, ScoredRollout, ScoreResponse
from ireasoner.reward_server.agreement.formulas import step_weight
from ireasoner.trainer.evaluation.questions import Question
from ireasoner.trainer.rewards.group_scorer import GroupRewards
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.rollout import Rollout
from replication.arms import ARMS
from replication.reward_variants import reward_variant


def group(*rollouts: tuple[str | None, float | None, float], dominant: str = "7") -> Group:
    """A group whose rollouts are (answer, trajectory, reward); None answers are invalid."""
    made = Group(Path("grid.png"), Image.new("RGB", (28, 28)))
    made.question = "What is the sum of row 1?"
    made.rollouts = [Rollout(f"text {a}", (1,), (0.0,), (1,), "stop", "solver-0", 0) for a, _, _ in rollouts]
    made.record = {
        "dominant_answer": dominant,
        "rollouts": [
            {
                "status": "ok" if answer is not None else "invalid",
                "answer": answer,
                "trajectory": trajectory,
                "steps": [{"text": "3 + 4 = 7."}] if answer is not None else [],
            }
            for answer, trajectory, _ in rollouts
        ],
    }
    return made


def rewards_of(name: str, made: Group, rewards: GroupRewards, progress: float = 1.0) -> list[float | None]:
    variant = reward_variant(ARMS[name], _labels, Recording())  # type: ignore[arg-type]
    assert variant is not None
    [new] = variant([made], [rewards], progress)
    return new


def _labels(image: Path, text: str) -> Question | None:
    return Question(image, text, "8")


class Recording:
    """Replaces the client: keeps the posted groups, and rewards a rollout with the number in its text."""

    def __init__(self) -> None:
        self.posted: list[PostedGroup] = []
        self.config: Any = None

    def score(self, _: str, groups: list[PostedGroup], *, config: Any, progress: float) -> ScoreResponse:
        self.posted, self.config = groups, config
        return ScoreResponse("r", "f", tuple(map(_scored, groups)))


def _scored(posted: PostedGroup) -> ScoredGroup:
    rollouts = tuple(
        ScoredRollout(r.id, "ok", None, "7", float((r.text or "").split()[1]), None, None, ())
        for r in posted.rollouts
    )
    return ScoredGroup(posted.id, "ok", "7", False, 1.0, 1.0, 0.0, 0.0, (), rollouts)


MADE = group(("7", 0.9, 0.8), ("7", 0.5, 0.6), ("8", 0.0, 0.3), (None, 0.0, 0.0))
SCORES: GroupRewards = [0.8, 0.6, 0.3, 0.0]


def test_an_arm_without_a_variant_trains_on_its_scores() -> None:
    assert reward_variant(ARMS["full"], _labels, RewardClient("http://127.0.0.1:1")) is None


def test_true_answers_hard_majority_and_format_alone() -> None:
    assert rewards_of("true-answers", MADE, SCORES) == [0.0, 0.0, 1.0, 0.0]
    assert rewards_of("hard-majority", MADE, SCORES) == [1.0, 1.0, 0.0, 0.0]
    assert rewards_of("format-only", MADE, SCORES) == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["true-answers", "hard-majority", "format-only", "constant-step-agreement"])
def test_a_rollout_without_a_score_gets_no_reward(name: str) -> None:
    assert rewards_of(name, MADE, [None, None, None, None]) == [None] * 4


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_constant_step_agreement_rewards_all_rollouts_of_the_majority_equally(progress: float) -> None:
    weight = step_weight(progress, ARMS["full"].scoring_config)
    outcome = 0.6
    scores: GroupRewards = [(1 - weight) * outcome + weight * step for step in (0.9, 0.5)]
    first, second, minority, invalid = rewards_of(
        "constant-step-agreement", MADE, [*scores, 0.3, 0.0], progress
    )
    assert first == pytest.approx(second) == pytest.approx((1 - weight) * outcome + weight * 0.7)
    assert (minority, invalid) == (0.3, 0.0)


def about(image: int, question: str, size: int = 8) -> Group:
    """A group about an image; rollout j answers 100 * image + j."""
    made = group(*((str(100 * image + j), 0.0, 0.0) for j in range(size)))
    made.path, made.question = Path(f"{image}.png"), question
    return made


def numbers(posted: PostedGroup) -> list[int]:
    return [int((r.text or "").split()[1]) for r in posted.rollouts]


def test_images_shuffled_scores_each_rollout_against_the_same_question_about_other_images() -> None:
    client = Recording()
    variant = reward_variant(ARMS["images-shuffled"], _labels, client)  # type: ignore[arg-type]
    assert variant is not None
    first = [about(image, "row 1" if image < 3 else f"row {image}") for image in range(1, 9)]
    new = variant(first, [[1.0] * 8] * 8, 0.4)
    assert client.config == {"preset": "paper"}
    assert new[:2] == [[100.0 + j for j in range(8)], [200.0 + j for j in range(8)]]
    assert new[2:] == [[None] * 8] * 6, "no other image was asked their question"
    assert [numbers(posted)[0] for posted in client.posted] == [*range(100, 108), *range(200, 208)]
    for posted in client.posted:
        own, *others = numbers(posted)
        assert len({*others}) == 7
        assert {number // 100 for number in others} == {3 - own // 100}
    second = [about(image, "row 1" if image < 12 else "row 5") for image in range(9, 17)]
    new = variant(second, [[None, *[1.0] * 7]] * 8, 0.4)
    assert [rewards[0] for rewards in new] == [None] * 8
    for posted in client.posted:
        own, *others = (number // 100 for number in numbers(posted))
        asked_of = {9, 10, 11, 1, 2} if own < 12 else {12, 13, 14, 15, 16, 5}
        assert {*others} == asked_of - {own}


def test_images_shuffled_takes_one_rollout_of_each_other_image() -> None:
    client = Recording()
    variant = reward_variant(ARMS["images-shuffled"], _labels, client)  # type: ignore[arg-type]
    assert variant is not None
    variant([about(image, "row 1") for image in range(1, 9)], [[1.0] * 8] * 8, 1.0)
    assert len(client.posted) == 64
    for posted in client.posted:
        assert {number // 100 for number in numbers(posted)} == {*range(1, 9)}
