"""What the collector posts under each preset is what a real reward server needs; rollouts are scripted."""

from pathlib import Path
from typing import Any

import pytest

from ireasoner.clients import RewardClient
from ireasoner.reward_server.scoring_config import PRESETS
from ireasoner.trainer.loop.collector import Collector
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.rollouts.rollout import Rollout
from tests.reward_server.conftest import compass, compass_http, compass_url
from tests.trainer.test_collector_context import POLICIES, collector_of
from tests.trainer.test_rewards import Server, scored

__all__ = ["compass", "compass_http", "compass_url"]  # fixtures

PAYING = [name for name in PRESETS if name != "views"]
ANSWERS = (7, 7, 9, 4)
FIGURES = {"self_certainty": (1.0, 3.0), "mean_token_entropy": (0.25, 0.75)}


class Scripted:
    """Answers 7, 7, 9 and 4, asks one question, paraphrases it, and judges the third reply without a score."""

    def __init__(self) -> None:
        self._judged = 0

    def base_model(self) -> str:
        return "base"

    def sample(self, policy: str, requests: Any, _: object) -> list[list[Rollout]]:
        return [[self._one(policy, request.count, i) for i in range(request.count)] for request in requests]

    def _one(self, policy: str, count: int, member: int) -> Rollout:
        text = f"<think>\nStep 1: I add.\n</think>\n<answer>{ANSWERS[member]}</answer>"
        if count == 1:
            asked = "How many?" if policy == "proposer" else "What number?"
            text = f"<question>{asked}</question>"
        if policy == "base":
            self._judged += 1
            text = "I cannot say" if self._judged % 4 == 3 else "<answer>1</answer>"
        return Rollout(text, (1, 2), (-1.0, -1.0 - member), (1,), "stop", policy, 0, FIGURES)


def rewards_under(
    url: str, preset: str, folder: Path, voters: str = "none"
) -> tuple[list[Any], dict[str, Any]]:
    with RewardClient(url) as client:
        needs = Needs.of(client.scoring_config(preset))
        one: Collector = collector_of(
            Server(lambda group: scored(group, 0.4)), folder, needs, config=preset, voters=voters
        )
        one._scorer = GroupScorer(client, one._settings.reward, 0)
        one._sampler._rollouts = Scripted()  # type: ignore[assignment]
        group = one.collect(2, POLICIES).groups[0]
    return group.rewards, group.record


PAYS: dict[str, list[float | None]] = {
    "ttrl": [1, 1, 0, 0],
    "ttrl-strict": [1, 1, 0, 0],
    "empo": [0.5, 0.5, 0.25, 0.25],
    "self-certainty": [2.0] * 4,
    "entropy-minimisation": [-0.5] * 4,
    "sequence-probability": [1.0, 0.367879, 0.135335, 0.049787],
    "judge-bounded": [0.592414, 0.592414, None, 0.296207],
}


@pytest.mark.parametrize("preset", PAYS)
def test_a_preset_gets_what_it_needs(preset: str, compass_url: str, tmp_path: Path) -> None:
    rewards, record = rewards_under(compass_url, preset, tmp_path)
    assert rewards == pytest.approx(PAYS[preset], abs=1e-5)
    reasons = [rollout["reason"] for rollout in record["rollouts"] if rollout["reward"] is None]
    assert reasons == (["the signal 'judge' is missing"] if preset == "judge-bounded" else [])


@pytest.mark.parametrize("voters", ["paraphrase", "teacher"])
def test_another_group_judges(voters: str, compass_url: str, tmp_path: Path) -> None:
    rewards, record = rewards_under(compass_url, "co-rewarding", tmp_path, voters)
    assert rewards == [1, 1, 0, 0]
    assert len(record["voters"]["rollouts"]) == 4


def test_every_preset_is_tried() -> None:
    assert set(PAYING) == {*PAYS, "co-rewarding", "paper", "robust"}
