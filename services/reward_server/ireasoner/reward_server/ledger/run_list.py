"""The runs of the ledgers, each with its size, its pace and the course of three figures."""

import sqlite3
from collections.abc import Sequence

from ireasoner.reward_server.ledger import schema, timeline, visible
from ireasoner.reward_server.ledger.ledger_wire import Recording, Run, Runs
from ireasoner.reward_server.ledger.ledgers import Ledger, Ledgers, Viewer
from ireasoner.reward_server.ledger.visible import VisibleRun

MOST_RUNS = 500
"""Runs that are listed."""
COURSE = 48
"""Points of the course of a figure."""
PACE_S = 300.0
"""Seconds over which groups per minute are counted."""
PACE_GROUPS = 1_000
"""Groups that are counted for it; a faster run's pace is that of its last so many groups."""


def runs(ledgers: Ledgers, viewer: Viewer) -> Runs:
    """The runs that the viewer may see, the one with the newest group first, and the ledgers' state."""
    found = _runs(ledgers, viewer)
    recording = Recording(
        groups=sum(run.groups for run in found),
        rollouts=sum(run.rollouts for run in found),
        bytes=size_bytes(ledgers) if viewer.experiment is None else None,
        max_bytes=None,
        dropped={},
        evicted_groups=sum(run.evicted_groups for run in found),
        is_recording=False,
        problem=None,
    )
    return Runs(ledger=recording, runs=found)


def _runs(ledgers: Ledgers, viewer: Viewer) -> list[Run]:
    found: list[Run] = []
    for ledger in ledgers:
        with ledger.reading() as connection:
            seen = [
                (each, _last_s(connection, each.id.row))
                for each in visible.runs(connection, ledger.index, viewer)
            ]
            newest = sorted(seen, key=lambda each: each[1] or 0.0, reverse=True)[:MOST_RUNS]
            found += [_run(connection, each, last_s) for each, last_s in newest if last_s is not None]
    return sorted(found, key=lambda each: each.last_s, reverse=True)[:MOST_RUNS]


def size_bytes(ledgers: Ledgers) -> int:
    """The size of the ledgers' databases."""
    return sum(_bytes(ledger) for ledger in ledgers)


def _bytes(ledger: Ledger) -> int:
    files = (ledger.folder / f"{schema.FILE}{suffix}" for suffix in ("", "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _last_s(connection: sqlite3.Connection, run: int) -> float | None:
    found = connection.execute(
        "SELECT received_s FROM groups INDEXED BY groups_by_time WHERE run_id = ? ORDER BY received_s DESC LIMIT 1",
        (run,),
    ).fetchone()
    return None if found is None else float(found["received_s"])


def _run(connection: sqlite3.Connection, run: VisibleRun, last_s: float) -> Run:
    row = run.id.row
    totals = connection.execute(
        "SELECT sum(groups) AS groups, sum(rollouts) AS rollouts, sum(words * rollouts / groups) AS words, "
        "min(first_s) AS first_s, max(CASE unit WHEN 'update' THEN at END) AS last_update "
        "FROM points WHERE run_id = ?",
        (row,),
    ).fetchone()
    evicted = connection.execute("SELECT groups FROM evictions WHERE run_id = ?", (row,)).fetchone()
    course = _course(connection, row)
    return Run(
        id=str(run.id),
        experiment=run.experiment,
        source=run.source,
        groups=totals["groups"],
        rollouts=totals["rollouts"],
        words=totals["words"],
        first_s=totals["first_s"],
        last_s=last_s,
        groups_per_minute=_groups_per_minute(connection, row, last_s),
        last_update=totals["last_update"],
        reward=[point["reward"] / point["rewarded"] for point in course if point["rewarded"]],
        entropy_nats=[point["entropy_nats"] / point["answered"] for point in course if point["answered"]],
        dominant_share=[point["dominant_share"] / point["groups"] for point in course],
        evicted_groups=0 if evicted is None else evicted["groups"],
    )


def _groups_per_minute(connection: sqlite3.Connection, run: int, last_s: float) -> float:
    count, since_s = connection.execute(
        "SELECT count(*), min(received_s) FROM (SELECT received_s FROM groups INDEXED BY groups_by_time "
        "WHERE run_id = ? AND received_s > ? ORDER BY received_s DESC LIMIT ?)",
        (run, last_s - PACE_S, PACE_GROUPS),
    ).fetchone()
    seconds = last_s - since_s if count == PACE_GROUPS else PACE_S
    return float(60.0 * count / max(seconds, 1.0))


def _course(connection: sqlite3.Connection, run: int) -> Sequence[sqlite3.Row]:
    """At most `COURSE` of the run's points, evenly spaced."""
    endpoints = timeline.endpoints_of(connection, run)
    unit = timeline.unit_of(connection, run, endpoints)
    shown = "solver" if "solver" in endpoints else endpoints[0]
    ends = timeline.bounds(connection, run, shown, unit)
    if ends is None:
        return []
    first, last = ends
    course, at = [], first
    step = max(1, -(-(last - first + 1) // COURSE))
    while at <= last:
        point = connection.execute(
            "SELECT * FROM points WHERE run_id = ? AND endpoint = ? AND unit = ? AND at >= ? ORDER BY at LIMIT 1",
            (run, shown, unit, at),
        ).fetchone()
        if point is None:
            break
        course.append(point)
        at = first + ((point["at"] - first) // step + 1) * step
    return course
