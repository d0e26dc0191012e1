"""The effect of a switch over the pairs of arms that differ in it alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from replication.__main__ import main
from replication.arms import ARMS, Arm
from replication.switches import Change, differing, repeated_changes
from tests.replication.plan import plan
from tests.replication.test_replicate import complete


def test_pairs_differ_in_one_numeric_field_of_the_scoring_config() -> None:
    found = repeated_changes(list(ARMS.values()))
    assert found[Change("distinct_exponent", 0.0, 0.75)] == [
        ("outcome-distinct", "outcome-only"),
        ("robust", "robust-without-distinct-exponent"),
    ]
    for change, pairs in found.items():
        assert len(pairs) > 1
        for high, low in pairs:
            config = ARMS[low].scoring_config
            assert getattr(config, change.switch) == change.low
            assert ARMS[high].scoring_config == config.model_copy(update={change.switch: change.high})


def test_arms_with_another_reward_or_trainer_are_no_pair() -> None:
    arms = [
        Arm(f"{letter}{gamma}", "method", "", overrides={"gamma": gamma})
        for letter in "ab"
        for gamma in (0.0, 1.0)
    ]
    change = Change("gamma", 0.0, 1.0)
    assert len(repeated_changes(arms)[change]) == 4
    assert repeated_changes(arms[1:3]) == {}, "a single pair is the difference of its arms"
    for other in ({"variant": "format_only"}, {"trainer": {"proposer_every": 0}}):
        apart = [*arms[:2], *(replace(arm, **other) for arm in arms[2:])]
        assert repeated_changes(apart)[change] == [("a1.0", "a0.0"), ("b1.0", "b0.0")]


def test_the_effect_is_the_mean_of_the_pairs_on_the_seeds_that_all_have(tmp_path: Path) -> None:
    the_plan = plan(tmp_path / "runs")
    greedy = {
        "outcome-only": 0.25,
        "outcome-distinct": 0.75,
        "robust": 0.75,
        "robust-without-distinct-exponent": 0.5,
    }
    for name, right in greedy.items():
        for seed in range(3):
            if (name, seed) != ("robust", 1):
                complete(the_plan, ARMS[name], seed, right)
    words = ["--no-run", "--images", "16", "--questions", "8", "--samples", "2", "--seeds", "3"]
    with pytest.raises(SystemExit):
        main([*words, "--runs", str(the_plan.runs), "--out", str(tmp_path)])
    [switch] = json.loads((tmp_path / "results.json").read_text())["switches"]
    assert (switch["switch"], switch["seeds"]) == ("distinct_exponent", [0, 2])
    assert switch["both"]["greedy"]["mean"] == pytest.approx((0.5 + 0.25) / 2)
    assert switch["both"]["majority"] == {"mean": 0.0, "low": None, "high": None, "p": None}
    table = (tmp_path / "table.md").read_text()
    assert (
        "| `distinct_exponent` 0 to 0.75 | outcome-distinct vs outcome-only, robust vs robust-without"
        in table
    )
    assert "| 2 | +0.375 |" in table


@pytest.mark.parametrize(
    ("one", "other", "settings"),
    [
        ("full", "outcome-only", ["lambda_max"]),
        ("outcome-distinct", "outcome-only", ["distinct_exponent"]),
        ("robust", "robust-without-ties", ["ties"]),
        ("full", "base", ["trained"]),
        ("full", "full", []),
        ("true-answers", "full", ["variant"]),
        ("full", "frozen-proposer", ["trainer.proposer_every"]),
        ("step-only", "full", ["lambda_max", "lambda_schedule"]),
        ("no-warm-up", "outcome-only", ["lambda_max", "warmup"]),
        ("constant-step-agreement", "outcome-only", ["lambda_max", "variant"]),
        (
            "full-with-one-moving-baseline",
            "full",
            ["trainer.reference_defects.one_moving_baseline", "trainer.advantage"],
        ),
    ],
)
def test_the_settings_in_which_two_arms_differ(one: str, other: str, settings: list[str]) -> None:
    assert sorted(differing(ARMS[one], ARMS[other])) == sorted(settings)
    assert sorted(differing(ARMS[other], ARMS[one])) == sorted(settings)
