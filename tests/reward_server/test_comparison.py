"""Changes of a group's scores, and the pages of a comparison."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ireasoner.reward_server.ledger import comparison, comparison_list, schema
from ireasoner.reward_server.ledger.comparison_file import ComparisonFile, Plan
from ireasoner.reward_server.ledger.group_change import GroupChange
from ireasoner.reward_server.ledger.ledgers import Ledgers, Viewer
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent

PLAN = Plan("robust", None, {"config": 1})


def change(before: list[float | None], after: list[float | None]) -> GroupChange:
    return GroupChange(before, after, "7", "7")


@pytest.mark.parametrize(
    ("before", "after", "changed", "largest", "flips"),
    [
        ([], [], 0, 0.0, 0),
        ([0.5, 0.2], [0.5, 0.2], 0, 0.0, 0),
        ([0.5, 0.2], [0.50000001, 0.2], 0, pytest.approx(0, abs=1e-6), 0),
        ([0.5, 0.2], [0.2, 0.5], 2, pytest.approx(0.3), 1),
        ([0.5, 0.2], [0.3, 0.3], 2, pytest.approx(0.2), 0),  # a tie is no flip
        ([0.3, 0.3], [0.5, 0.2], 2, pytest.approx(0.2), 0),
        ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], 2, pytest.approx(0.2), 3),
        ([None, 0.2, 0.3], [None, 0.3, 0.2], 2, pytest.approx(0.1), 1),
        ([None, 0.2], [0.1, 0.2], 1, 0.0, 0),
        ([0.4, 0.2], [None, 0.2], 1, 0.0, 0),
        ([None], [None], 0, 0.0, 0),
    ],
)
def test_how_far_a_group_changes(
    before: list[float | None], after: list[float | None], changed: int, largest: Any, flips: int
) -> None:
    made = change(before, after)
    assert (made.changed, made.change, made.rank_flips) == (changed, largest, flips)


def write(folder: Path, changes: list[tuple[int, str, GroupChange]], name: str = "c") -> None:
    folder.mkdir(exist_ok=True)
    with ComparisonFile(folder, name, PLAN) as file:
        file.expect(len(changes))
        file.add(changes)


def test_the_correlation_is_that_of_all_rewards(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    groups = [(rng.random(8), rng.random(8)) for _ in range(20)]
    write(
        tmp_path,
        [(index, "-", change(a.tolist(), b.tolist())) for index, (a, b) in enumerate(groups, start=1)],
    )
    expected = np.corrcoef(np.concatenate([a for a, _ in groups]), np.concatenate([b for _, b in groups]))
    found = comparison.read(tmp_path, "c").summary["correlation"]
    assert found == pytest.approx(expected[0, 1])


@pytest.mark.parametrize("rewards", [([], []), ([0.5], [0.4]), ([0.5, 0.5], [0.1, 0.9]), ([None], [None])])
def test_without_spread_there_is_no_correlation(
    tmp_path: Path, rewards: tuple[list[float | None], list[float | None]]
) -> None:
    write(tmp_path, [(1, "-", change(*rewards))])
    assert comparison.read(tmp_path, "c").summary["correlation"] is None


@pytest.mark.parametrize("sort", ["change", "flips"])
@pytest.mark.parametrize("experiment", [None, "a"])
def test_pages_follow_each_other_without_gap_or_double(
    tmp_path: Path, sort: Any, experiment: str | None
) -> None:
    rng = np.random.default_rng(1)
    changes = [
        (index, "ab"[index % 2], change(rng.random(3).round(1).tolist(), rng.random(3).round(1).tolist()))
        for index in range(1, 40)
    ]
    write(tmp_path, changes)
    whole = comparison.compared(tmp_path, "c", sort=sort, limit=100, experiment=experiment)
    assert len(whole) == (39 if experiment is None else 19)
    figures = [each.change if sort == "change" else each.rank_flips for each in whole]
    assert figures == sorted(figures, reverse=True)
    paged: list[comparison.ComparedGroup] = []
    after = None
    while page := comparison.compared(tmp_path, "c", sort=sort, limit=7, after=after, experiment=experiment):
        paged += page
        last = page[-1]
        after = (last.change if sort == "change" else last.rank_flips, last.group_id)
    assert paged == whole


def test_an_experiment_sees_its_own_groups_and_sums_alone(tmp_path: Path) -> None:
    write(tmp_path, [(1, "a", change([0.1], [0.9])), (2, "b", change([0.1], [0.1]))])
    seen = comparison.read(tmp_path, "c", "b")
    assert (seen.groups, seen.done, seen.summary["changed_rewards"]) == (1, 1, 0)
    assert [each.group_id for each in comparison.compared(tmp_path, "c", experiment="b")] == [2]
    assert comparison.read(tmp_path, "c", "c").summary["rollouts"] == 0


SAME = {"config": {"alpha": 0.7}, "against": None, "embedder": "minilm", "which": {"run": None}}


@pytest.mark.parametrize(
    ("other", "groups"),
    [
        (SAME, 3),
        (SAME | {"which": {"run": "demo"}}, 3),
        (SAME | {"config": {"alpha": 1.0}}, 2),
        (SAME | {"against": {"alpha": 0.7}}, 2),
        (SAME | {"embedder": "token-mean"}, 2),
    ],
    ids=["same", "other-groups", "other-config", "other-against", "other-embedder"],
)
def test_comparisons_of_one_name_are_one_if_they_score_alike(
    tmp_path: Path, other: dict[str, Any], groups: int
) -> None:
    """Else the newest is shown. The label is the same for each set of overrides."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, request, rows in zip(folders, (other, SAME), ([1], [1, 2]), strict=True):
        group = sent(["7", "8"])
        keep(folder, [record(group, sequence=row, experiment="ours") for row in rows])
        with ComparisonFile(folder, "c", Plan("paper+", None, request)) as file:
            file.expect(len(rows))
            file.add([(row, "ours", change([0.5, 0.2], [0.2, 0.5])) for row in rows])
    with closing(sqlite3.connect(comparison.file_of(folders[0], "c"))) as older, older:
        older.execute("UPDATE plan SET created_s = created_s - 1")
    for viewer in (Viewer(None), Viewer("ours")):
        [listed] = comparison_list.comparisons(Ledgers(folders), viewer).comparisons
        page = comparison_list.compared_groups(Ledgers(folders), viewer, "c", "change", 50, None)
        assert (listed.groups, listed.summary["rank_flips"], len(page.rows)) == (groups, groups, groups)
        assert page.comparison == listed


def test_names_lists_comparisons_and_nothing_else(tmp_path: Path) -> None:
    assert comparison.names(tmp_path) == []
    write(tmp_path, [], "b")
    write(tmp_path, [], "a.1+")
    (tmp_path / schema.COMPARISONS / "note.txt").touch()
    (tmp_path / schema.COMPARISONS / " x.sqlite").touch()
    assert comparison.names(tmp_path) == ["a.1+", "b"]
    assert comparison.exists(tmp_path, "b")
    assert not any(comparison.exists(tmp_path, name) for name in ("none", "../b", "", "b/../b"))


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "a\0b", "é", "x" * 101, "-a"])
def test_what_cannot_be_the_name_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name for a comparison"):
        comparison.file_of(tmp_path, name)


def test_a_file_that_is_no_comparison_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / schema.COMPARISONS
    folder.mkdir()
    (folder / "text.sqlite").write_text("no database" * 100)
    schema.open_to_write(folder).close()
    (folder / schema.FILE).rename(folder / "other.sqlite")
    for name in ("text", "other", "gone"):
        with pytest.raises(schema.LedgerUnusable):
            comparison.read(tmp_path, name)
    with pytest.raises(schema.LedgerUnusable):
        ComparisonFile(tmp_path, "text", PLAN)


def test_rewards_are_kept_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, [(1, "-", change([0.1, None], [1 / 3, 0.0]))])
    [row] = comparison.compared(tmp_path, "c")
    assert (row.before, row.after) == ([0.1, None], [1 / 3, 0.0])
    assert json.dumps(row.after)
