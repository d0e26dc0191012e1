"""What a reward variant may return."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from ireasoner.trainer.errors import ScoringError, SettingsError
from ireasoner.trainer.rewards.variant import apply_variant, named_variant
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.settings import RunSettings
from tests.replication.own_reward import few_steps


def groups() -> list[Group]:
    made = [Group(Path("a.png"), Image.new("RGB", (84, 84))) for _ in range(2)]
    for group in made:
        group.rewards = [0.5, None]
    return made


def test_a_variant_replaces_the_scores() -> None:
    seen: list[Any] = []

    def variant(*given: Any) -> Any:
        seen.append(given[1:])
        return [(1, None), (np.float32(0.25), 0.75)]

    two = groups()
    apply_variant(variant, two, 0.5)
    assert seen == [([[0.5, None], [0.5, None]], 0.5)]
    assert [group.rewards for group in two] == [[1.0, None], [0.25, 0.75]]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([[1.0, 1.0]], r"returned \[2\] rewards for groups of \[2, 2\]"),
        ([[1.0], [1.0, 1.0]], r"returned \[1, 2\] rewards for groups of \[2, 2\]"),
        (None, "did not return a list of rewards per group"),
        ([None, None], "did not return a list of rewards per group"),
        ([[1.0, float("nan")], [1.0, 1.0]], "returned nan: a reward is a finite number"),
        ([[1.0, "1"], [1.0, 1.0]], "returned '1': a reward is a finite number"),
    ],
)
def test_anything_but_rewards_is_refused(given: Any, told: str) -> None:
    with pytest.raises(ScoringError, match=told):
        apply_variant(lambda *_: given, groups(), 0.5)


def test_a_variant_that_fails_is_named_with_its_line() -> None:
    def variant(*_: Any) -> Any:
        return [1 / 0]

    with pytest.raises(ScoringError, match=r"failed: ZeroDivisionError: .*test_reward_variant\.py, line \d+"):
        apply_variant(variant, groups(), 0.5)


def test_a_reward_of_ones_own_is_named_by_module_and_function() -> None:
    assert named_variant("tests.replication.own_reward:few_steps") is few_steps
    assert named_variant(None) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nocolon", "nocolon is not module:function"),
        ("no_such_module:f", "No module named 'no_such_module'; is its folder on PYTHONPATH?"),
        ("json:nothing", "json:nothing is not module:function"),
        (":f", ":f is not module:function"),
        ("json:", "json: is not module:function"),
        ("json:__doc__", "it is not callable"),
        ("json:loads", "json:loads must take three arguments"),
        ("tests.traps:no", "is not module:function"),
    ],
)
def test_a_reward_that_does_not_exist_is_refused(source: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        named_variant(source)
    assert str(raised.value).startswith("reward.function: ")
    assert message in str(raised.value)


def test_a_reward_of_ones_own_is_part_of_the_experiment_and_no_control() -> None:
    needed: dict[str, Any] = {"model": "m", "images": "i", "run_folder": "r"}
    own = RunSettings(**needed, reward={"function": "m:f"})
    assert own.experiment != RunSettings(**needed).experiment
    with pytest.raises(ValidationError, match="both replace the scores"):
        RunSettings(**needed, reward={"function": "m:f", "control": "random"})
