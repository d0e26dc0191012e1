"""What a reward variant may return."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ireasoner.trainer.errors import ScoringError
from ireasoner.trainer.rewards.variant import apply_variant
from ireasoner.trainer.rollouts.group import Group


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
