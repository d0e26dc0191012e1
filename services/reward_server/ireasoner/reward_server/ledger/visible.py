"""What a viewer may see: the runs of its experiment, and what belongs to them."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from ireasoner.reward_server.errors import NoSuchRecord
from ireasoner.reward_server.ledger.ledgers import RecordId, Viewer, no_such


@dataclass(frozen=True, slots=True)
class VisibleRun:
    """A run that the viewer may see."""

    id: RecordId
    experiment: str
    source: str


def runs(connection: sqlite3.Connection, ledger: int, viewer: Viewer) -> list[VisibleRun]:
    """The viewer's runs in a ledger."""
    found = connection.execute(
        "SELECT id, experiment, source FROM runs WHERE ?1 IS NULL OR experiment = ?1", (viewer.experiment,)
    )
    return [VisibleRun(RecordId(ledger, row), *names) for row, *names in found]


def run(connection: sqlite3.Connection, record: RecordId, viewer: Viewer) -> VisibleRun:
    """A run; raises NoSuchRecord if it does not exist or the viewer may not see it."""
    found = connection.execute("SELECT experiment, source FROM runs WHERE id = ?", (record.row,)).fetchone()
    if found is None or not viewer.sees(found["experiment"]):
        raise no_such(record)
    return VisibleRun(record, found["experiment"], found["source"])


def run_of(connection: sqlite3.Connection, table: str, record: RecordId, viewer: Viewer) -> VisibleRun:
    """The run of a row of `groups` or `questions`; raises NoSuchRecord as `run` does."""
    found = connection.execute(f"SELECT run_id FROM {table} WHERE id = ?", (record.row,)).fetchone()
    if found is None:
        raise no_such(record)
    try:
        return run(connection, RecordId(record.ledger, found["run_id"]), viewer)
    except NoSuchRecord:
        raise no_such(record) from None


def by_run(connection: sqlite3.Connection, groups: Sequence[int]) -> dict[int, list[int]]:
    """The rows of groups by the rows of their runs."""
    found: dict[int, list[int]] = {}
    rows = orjson.dumps(list(groups)).decode()
    runs = connection.execute(
        "SELECT run_id, id FROM groups NOT INDEXED WHERE id IN (SELECT value FROM json_each(?))", (rows,)
    )
    for run, group in runs:
        found.setdefault(run, []).append(group)
    return found
