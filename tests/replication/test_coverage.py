"""The simulation behind the page's claim about intervals, with few tables."""

import json

import pytest

from replication.coverage import CASES, COVERAGE, METHODS, SEEDS, coverage, coverage_table
from replication.intervals import LEAST_SEEDS
from scripts import replication_docs

RECORDED = json.loads((replication_docs.FOLDER / COVERAGE).read_text(encoding="utf-8"))


def test_the_bootstrap_over_two_seeds_is_far_too_narrow_and_ours_over_five_is_not() -> None:
    case = CASES["seeds alone differ"]
    assert coverage(case, 2, tables=60)["bootstrap"] < 0.7
    assert coverage(case, 5, tables=60)["t across both"] > 0.85


def test_from_five_seeds_on_the_recorded_coverage_is_what_the_intervals_claim() -> None:
    assert RECORDED["cases"].keys() == CASES.keys()
    for by_seeds in RECORDED["cases"].values():
        assert [*by_seeds] == [str(seeds) for seeds in SEEDS]
        for seeds, found in by_seeds.items():
            assert found.keys() == METHODS.keys()
            if int(seeds) >= LEAST_SEEDS:
                assert found["t across both"] >= 0.93


@pytest.mark.parametrize("name", CASES)
def test_the_table_shows_what_was_recorded(name: str) -> None:
    table = coverage_table(RECORDED)
    found = RECORDED["cases"][name]["5"]
    assert f"| {name} | 5 | {' | '.join(f'{found[method]:.2f}' for method in METHODS)} |" in table
