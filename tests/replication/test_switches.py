"""What a switch is worth over the pairs of rows that differ in it alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from replication.__main__ import main
from replication.rows import ROWS, Row
from replication.switches import Change, repeated_changes
from tests.replication.plan import plan
from tests.replication.test_replicate import complete


def test_pairs_differ_in_one_number_of_the_scoring_config() -> None:
    found = repeated_changes(list(ROWS.values()))
    assert found[Change("distinct_exponent", 0.0, 0.75)] == [
        ("outcome-distinct", "outcome-only"),
        ("robust", "robust-without-distinct-exponent"),
    ]
    for change, pairs in found.items():
        assert len(pairs) > 1
        for high, low in pairs:
            config = ROWS[low].scoring_config
            assert getattr(config, change.switch) == change.low
            assert ROWS[high].scoring_config == config.model_copy(update={change.switch: change.high})


def test_rows_that_train_differently_are_no_pair() -> None:
    rows = [
        Row(f"{letter}{gamma}", "method", "", overrides={"gamma": gamma})
        for letter in "ab"
        for gamma in (0.0, 1.0)
    ]
    change = Change("gamma", 0.0, 1.0)
    assert len(repeated_changes(rows)[change]) == 4
    assert repeated_changes(rows[1:3]) == {}, "one pair tells no more than the rows do"
    for other in ({"variant": "format_only"}, {"trainer": {"proposer_every": 0}}):
        apart = [*rows[:2], *(replace(row, **other) for row in rows[2:])]
        assert repeated_changes(apart)[change] == [("a1.0", "a0.0"), ("b1.0", "b0.0")]


def test_a_switch_is_worth_the_mean_of_its_pairs_on_the_seeds_that_all_have(tmp_path: Path) -> None:
    there = plan(tmp_path / "runs")
    greedy = {
        "outcome-only": 0.25,
        "outcome-distinct": 0.75,
        "robust": 0.75,
        "robust-without-distinct-exponent": 0.5,
    }
    for name, right in greedy.items():
        for seed in range(3):
            if (name, seed) != ("robust", 1):
                complete(there, ROWS[name], seed, right)
    words = ["--no-run", "--images", "16", "--questions", "8", "--samples", "2", "--seeds", "3"]
    with pytest.raises(SystemExit):
        main([*words, "--runs", str(there.runs), "--out", str(tmp_path)])
    [switch] = json.loads((tmp_path / "results.json").read_text())["switches"]
    assert (switch["switch"], switch["seeds"]) == ("distinct_exponent", [0, 2])
    assert switch["both"]["greedy"]["mean"] == pytest.approx((0.5 + 0.25) / 2)
    assert switch["both"]["majority"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    table = (tmp_path / "table.md").read_text()
    assert (
        "| `distinct_exponent` 0 to 0.75 | outcome-distinct less outcome-only, robust less robust-without"
        in table
    )
    assert "| 2 | +0.375 [" in table
