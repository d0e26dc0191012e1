"""Pages of a ledger ten times as large do not read ten times as much."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ireasoner.reward_server.ledger import (
    audit_of_run,
    group_list,
    group_query,
    ledgers,
    run_list,
    schema,
    search,
    timeline,
    whole_group,
)
from ireasoner.reward_server.ledger.group_query import GroupQuery
from ireasoner.reward_server.ledger.ledger_wire import Order, Sort
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.ledger.search import SearchText
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, scored, sent

OPERATOR, OURS = Viewer(None), Viewer("ours")
UPDATES = 40
SMALL, LARGE = 4, 40
"""Groups of an update; both ledgers have as many updates."""
MORE_STEPS, MORE_BYTES = 8_000, 600_000
"""What a page of the large ledger may cost more, where the small one ends before a bound is reached: a tenth of what a
scan would."""
STEP = 50
"""Steps of SQLite's machine that are counted at once."""


def filled(folder: Path, groups_per_update: int) -> Ledgers:
    """Two runs of two experiments. Groups differ in all that they are sorted and filtered by."""
    records: list[Record] = []
    for update in range(UPDATES):
        for experiment in ("ours", "theirs"):
            groups = []
            for index in range(groups_per_update):
                number = update * groups_per_update + index
                group = sent(
                    [str(number % (each + 2)) for each in range(4)],
                    name=str(number),
                    question=f"{experiment}: how many stars are in picture {number % 97}?",
                    image=f"{number % 31:064x}",
                    labels=[str(number % 2)],
                )
                found = scored(group)
                found["tie"] = number % 10 == 0
                for each in found["rollouts"]:
                    each["trajectory"] = each["reward"]
                found["rollouts"][0]["reward"] = (number * 37 % 1_009) / 1_009
                groups.append({"group": group, "scored": found})
            made = record(
                sequence=2 * update + len(records) % 2 + 1,
                feed=experiment,
                experiment=experiment,
                source="run",
                update=update,
                received_s=1_800_000_000.0 + 10 * update,
                groups=groups,
            )
            records.append(made)
    keep(folder, records)
    return Ledgers([folder])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Ledgers:
    return filled(tmp_path_factory.mktemp("small"), SMALL)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Ledgers:
    return filled(tmp_path_factory.mktemp("large"), LARGE)


class Work:
    """What calls to SQLite cost: steps of its machine, and bytes that were read from files."""

    def __init__(self) -> None:
        self.steps = 0
        self.bytes = 0


@pytest.fixture(autouse=True)
def low_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds below the size of the small ledger, so that the large one cannot cost more."""
    monkeypatch.setattr(group_list, "EXAMINED", 100)
    monkeypatch.setattr(group_list, "FEW", 10)
    monkeypatch.setattr(group_list, "LEAST_FEW", 10)
    monkeypatch.setattr(search, "BLOCK", 32)
    monkeypatch.setattr(search, "WINDOW", 64)
    monkeypatch.setattr(search, "FEW", 16)
    monkeypatch.setattr(search, "BLOCK_COST", 20)
    monkeypatch.setattr(search, "CHECK_COST", 20)
    monkeypatch.setattr(run_list, "PACE_GROUPS", 20)
    monkeypatch.setattr(whole_group, "NEIGHBOURS", 1)
    monkeypatch.setattr(whole_group, "QUESTIONS", 1)


@contextmanager
def counted(read: Ledgers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """Counts within the block; every connection is new, so that nothing is read from its cache."""
    work = Work()
    read.close()
    open_to_read = schema.open_to_read

    def count() -> None:
        work.steps += STEP

    def opened(folder: Path) -> sqlite3.Connection:
        connection = open_to_read(folder)
        connection.set_progress_handler(count, STEP)
        return connection

    with monkeypatch.context() as patched:
        patched.setattr(ledgers, "MAX_IDLE", 0)
        patched.setattr(schema, "open_to_read", opened)
        before = _bytes_read()
        yield work
        work.bytes = _bytes_read() - before


def _bytes_read() -> int:
    """Bytes that this process has read, from the page cache or not."""
    line = next(
        line for line in Path(f"/proc/{os.getpid()}/io").read_text().splitlines() if line.startswith("rchar")
    )
    return int(line.split()[1])


def listed(viewer: Viewer = OPERATOR, **query: Any) -> Callable[[Ledgers], object]:
    def call(read: Ledgers) -> object:
        return group_list.page(read, viewer, GroupQuery(**query), 20, None)

    return call


RUN = RecordId(0, 1)
PAGES: dict[str, Callable[[Ledgers], object]] = {
    "runs": lambda read: run_list.runs(read, OPERATOR, None),
    "runs of an experiment": lambda read: run_list.runs(read, OURS, None),
    "timeline": lambda read: timeline.timeline(read, OPERATOR, RUN, None, None, None, 400),
    "audit": lambda read: audit_of_run.audit_of(read, OPERATOR, RUN),
    "group": lambda read: whole_group.whole(read, OPERATOR, RecordId(0, 100)),
    "neighbours": lambda read: whole_group.neighbours(read, OPERATOR, RecordId(0, 100)),
    **{f"by {sort}": listed(sort=sort) for sort in schema.SORT_INDEXES},
    **{f"by {sort}, ascending": listed(sort=sort, order="asc", run=RUN) for sort in ("reward", "received_s")},
    "of an experiment": listed(OURS),
    "of an experiment by reward": listed(OURS, sort="reward"),
    "low agreement by reward": listed(max_dominant_share=0.7, sort="reward"),
    "wrong by excess": listed(flags=("wrong",), sort="excess"),
    "ties": listed(flags=("tie",)),
    "wrong": listed(flags=("wrong",), run=RUN),
    "some minutes": listed(received_from_s=1_800_000_040.0, received_until_s=1_800_000_060.0),
    "some minutes, the smallest reward first": listed(
        received_from_s=1_800_000_040.0, received_until_s=1_800_000_060.0, sort="reward", order="asc"
    ),
    "some updates": listed(update_from=3, update_until=4),
    "a common text": listed(text=SearchText("how many stars")),
    "a common text of an experiment": listed(OURS, text=SearchText("how many stars")),
    "two characters that most have": listed(text=SearchText("ho")),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_as_much_of_a_larger_ledger(
    small: Ledgers, large: Ledgers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the groups; indexes may be a level deeper, and texts that are read a little longer."""
    spent = []
    for read in (small, large):
        with counted(read, monkeypatch) as work:
            PAGES[name](read)
        spent.append(work)
    assert 0 < spent[1].steps <= 2 * spent[0].steps + MORE_STEPS
    assert 0 < spent[1].bytes <= 2 * spent[0].bytes + MORE_BYTES


def test_the_groups_beside_one_are_found_at_once_among_those_of_one_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import gives all groups of a file one time; before and after it other groups came."""
    spent = []
    for count in (20, 400):
        folder = tmp_path / str(count)
        times = [1.0, 2.0, *[3.0] * count, 4.0, 5.0]
        keep(
            folder,
            [record(sent(["7"]), sequence=at, received_s=time) for at, time in enumerate(times, start=1)],
        )
        read = Ledgers([folder])
        with counted(read, monkeypatch) as work:
            whole_group.whole(read, OPERATOR, RecordId(0, 3 + count // 2))
        spent.append(work.steps)
    assert spent[1] <= spent[0] + 2 * STEP, spent
    found = [whole_group.whole(read, OPERATOR, RecordId(0, row + 1)) for row in range(len(times))]
    names = [None, *[f"0-{row + 1}" for row in range(len(times))], None]
    assert [each["older"] for each in found] == names[:-2]
    assert [each["newer"] for each in found] == names[2:]


RARE: dict[str, dict[str, Any]] = {
    "a filter that few meet": {"flags": ("tie", "wrong"), "max_dominant_share": 0.25},
    "a filter that few meet, by reward": {"flags": ("tie", "wrong"), "sort": "reward"},
    "an image": {"image": f"{7:064x}", "sort": "reward"},
    "a text that nothing has": {"text": SearchText("no such text")},
    "a text that nothing has, by words": {"text": SearchText("no such text"), "sort": "words"},
    "two characters that nothing has": {"text": SearchText("zq")},
    "two characters that nothing has, by reward": {"text": SearchText("zq"), "sort": "reward"},
    "a text that some have, by reward": {"text": SearchText("picture 13?"), "sort": "reward"},
}


@pytest.mark.parametrize("name", RARE)
def test_work_for_a_page_is_bounded_whatever_it_looks_for(
    small: Ledgers, large: Ledgers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little of the ledger matches."""
    spent = []
    for read in (small, large):
        with counted(read, monkeypatch) as work:
            listed(**RARE[name])(read)
        spent.append(work)
    assert 0 < spent[1].steps <= 2 * spent[0].steps + MORE_STEPS
    assert 0 < spent[1].bytes <= 2 * spent[0].bytes + MORE_BYTES


@pytest.mark.parametrize("sort", schema.SORT_INDEXES)
@pytest.mark.parametrize("order", ["desc", "asc"])
def test_each_order_is_read_from_its_index(
    small: Ledgers, sort: Sort, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sorted, and behind a cursor nothing before it is scanned."""
    asked = GroupQuery(run=RUN, sort=sort, order=order)
    cursor = group_list.page(small, OPERATOR, asked, 5, None).next
    read: list[str] = []
    [ledger] = small
    small.close()
    with ledger.reading() as connection:
        connection.set_trace_callback(read.append)
    for after in (None, cursor):
        group_list.page(small, OPERATOR, asked, 5, after)
    walks = [each for each in read if f"INDEXED BY {schema.SORT_INDEXES[sort]} " in each]
    assert len(walks) == (1 if cursor is None else 3)
    with ledger.reading() as connection:
        connection.set_trace_callback(None)
        plans = [connection.execute(f"EXPLAIN QUERY PLAN {each}").fetchall() for each in walks]
    for plan in plans:
        [step] = [row["detail"] for row in plan]
        assert step.startswith(f"SEARCH groups USING COVERING INDEX {schema.SORT_INDEXES[sort]} (run_id=?")
    if cursor is not None:
        assert f"(run_id=? AND {sort}=? AND id" in plans[1][0]["detail"]
        assert f"(run_id=? AND {sort}{'<' if order == 'desc' else '>'}?)" in plans[2][0]["detail"]


WIDE: dict[str, dict[str, Any]] = {
    "a dominant share": {"max_dominant_share": 1.0},
    "updates": {"update_from": 0},
    "times": {"received_from_s": 0.0, "received_until_s": 2e9},
    "an endpoint": {"endpoint": "solver"},
    "an image that few have": {"image": f"{7:064x}"},
    **{flag: {"flags": (flag,)} for flag in group_query.FLAGS},
}


@pytest.mark.parametrize("name", WIDE)
def test_groups_that_are_filtered_in_an_order_are_read_from_its_index_alone(
    small: Ledgers, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of the table costs a page; these are all over the file."""
    monkeypatch.setattr(group_list, "LEAST_FEW", -1)
    monkeypatch.setattr(group_list, "FEW", -1)
    read: list[str] = []
    [ledger] = small
    small.close()
    with ledger.reading() as connection:
        connection.set_trace_callback(read.append)
    group_list.page(small, OPERATOR, GroupQuery(run=RUN, sort="reward", **WIDE[name]), 5, None)
    [walk, *_] = [each for each in read if "INDEXED BY groups_by_reward " in each]
    with ledger.reading() as connection:
        connection.set_trace_callback(None)
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {walk}")]
    assert plan[0].startswith("SEARCH groups USING COVERING INDEX groups_by_reward (run_id=?")
    assert [step for step in plan if "groups" in step] == plan[:1]


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_a_range_of_the_figure_that_groups_are_sorted_by_is_found_at_once(
    large: Ledgers, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page of the oldest, the middle and the newest minutes, and a page behind a cursor."""
    spent = []
    for first in (0, 200, 380):
        start_s = 1_800_000_000.0 + first
        asked = GroupQuery(run=RUN, order=order, received_from_s=start_s, received_until_s=start_s + 20)
        with counted(large, monkeypatch) as work:
            found = group_list.page(large, OPERATOR, asked, 30, None)
        assert [len(found.groups), found.is_complete] == [30, True]
        spent.append(work.steps)
        with counted(large, monkeypatch) as work:
            found = group_list.page(large, OPERATOR, asked, 60, found.next)
        assert [len(found.groups), found.is_complete, found.next] == [50, True, None]
        spent.append(work.steps)
    assert max(spent) <= 3 * min(spent), spent


def test_the_middle_of_equal_values_is_found_at_once(large: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    query = GroupQuery(sort="dominant_share", run=RUN)
    first = group_list.page(large, OPERATOR, query, 20, None)
    cursor, late = first.next, first.next
    for _ in range(40):
        late = group_list.page(large, OPERATOR, query, 20, late).next
    spent = []
    for each in (cursor, late):
        with counted(large, monkeypatch) as work:
            group_list.page(large, OPERATOR, query, 20, each)
        spent.append(work.steps)
    assert spent[1] <= 1.2 * spent[0] + 200


def test_a_scan_would_cost_more_than_is_allowed(large: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(large, monkeypatch) as work:
        [ledger] = large
        with ledger.reading() as connection:
            connection.execute("SELECT sum(reward + words + steps) FROM groups NOT INDEXED").fetchall()
            connection.execute("SELECT sum(length(document)) FROM documents").fetchall()
    assert work.steps > 2 * MORE_STEPS
    assert work.bytes > 2 * MORE_BYTES
