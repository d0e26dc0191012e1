"""The gate before training on views: paired, over questions that share no numbers, judged by its low end."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from ireasoner.trainer.views.gate import Gate
from ireasoner.trainer.worlds.digit_grids.grid import Grid
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS
from ireasoner.trainer.worlds.world import Asked
from replication.intervals import across_questions
from replication.views_gate import ViewsGateSettings, gate, verdict

TABLES = Path(__file__).resolve().parents[2] / "docs" / "replication"


def asked(count: int, different: int) -> list[Asked]:
    """`count` questions about row 1, with `different` sets of numbers."""
    return [
        QUESTIONS[0].about(Grid(Image.new("RGB", (84, 84)), (0, 0, number % different, *[0] * 6)))
        for number in range(count)
    ]


def measured(plain: list[float], pooled: list[float], different: int = 9) -> dict[str, object]:
    found = Gate(tuple(plain), tuple(pooled), 0.25)
    return {
        "task": "one-path",
        "arm": "views-cross",
        "samples": 8,
        **gate(found, asked(len(plain), different)),
    }


@pytest.mark.parametrize(
    ("plain", "pooled", "passed"),
    [
        ([0.0] * 36, [1.0] * 36, True),
        ([0.0, 1.0] * 18, [0.2, 1.2] * 18, True),
        ([0.0] * 36, [0.1] * 36, True),
        ([0.0] * 36, [0.09] * 36, False),
        ([0.0] * 36, ([0.0] * 5 + [1.0]) * 6, False),  # the mean is 0.167, the low end is below 0.1
        ([1.0] * 36, [0.0] * 36, False),
        ([0.5] * 36, [0.5] * 36, False),
    ],
)
def test_the_low_end_of_the_gain_decides(plain: list[float], pooled: list[float], passed: bool) -> None:
    found = measured(plain, pooled)
    assert found["passed"] is passed
    assert ("there is headroom on one-path" in verdict(found)) is passed
    assert ("there is no headroom on one-path" in verdict(found)) is not passed


def test_questions_with_the_same_numbers_count_as_one() -> None:
    pooled = ([1.0] * 6 + [0.0] * 3) * 4
    apart, together = (measured([0.0] * 36, pooled, different) for different in (9, 3))
    assert apart["pooled_less_plain"]["mean"] == together["pooled_less_plain"]["mean"]  # type: ignore[index]
    assert apart["pooled_less_plain"]["low"] != together["pooled_less_plain"]["low"]  # type: ignore[index]
    assert apart["replaced_share"] == 0.25


@pytest.mark.parametrize("file", sorted(TABLES.glob("**/views_gate.json")), ids=lambda file: file.parent.name)
def test_the_committed_intervals_follow_from_the_committed_values(file: Path) -> None:
    found = json.loads(file.read_text())
    assert len(found["clusters"]) == found["questions"]
    for name, hits in (
        ("plain_majority", found["plain_hits"]),
        ("pooled_majority", found["pooled_hits"]),
        ("pooled_less_plain", np.subtract(found["pooled_hits"], found["plain_hits"]).tolist()),
    ):
        again = across_questions([hits], found["clusters"])
        assert found[name]["mean"] == pytest.approx(again.mean, abs=2e-4)
        assert found[name]["low"] == pytest.approx(again.low, abs=2e-4)
        assert found[name]["high"] == pytest.approx(again.high, abs=2e-4)
    assert found["passed"] is (found["pooled_less_plain"]["low"] >= found["least"])


def test_an_arm_without_views_has_no_gate() -> None:
    assert ViewsGateSettings(arm="views-false").task == "one-path"
    with pytest.raises(ValidationError, match="no arm with views; these are views-cross, views-pooled"):
        ViewsGateSettings(arm="full")
