"""The runs of the ledgers, each with its size, its pace and the course of three figures."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from ireasoner.reward_server.ledger import schema, timeline, visible
from ireasoner.reward_server.ledger.eviction import EVICTED_RUNS
from ireasoner.reward_server.ledger.ledger_wire import Recording, Run, Runs
from ireasoner.reward_server.ledger.ledgers import Ledger, Ledgers, Viewer
from ireasoner.reward_server.ledger.recorder import Status
from ireasoner.reward_server.ledger.visible import VisibleRun

MOST_RUNS = 500
"""Runs that are listed."""
SHOWN = ("solver", "trajectory", "outcome", "proposer")
"""Endpoints, the one whose figures say most first."""
COURSE = 48
"""Points of the course of a figure."""
PACE_S = 300.0
"""Seconds over which groups per minute are counted."""
PACE_GROUPS = 1_000
"""Groups that are counted for it; a faster run's pace is that of its last so many groups."""


def runs(ledgers: Ledgers, viewer: Viewer, status: Status | None) -> Runs:
    """The runs that the viewer may see, the one with the newest group first, and the ledgers' state.

    An experiment does not learn what the others' groups take, or how many of them were dropped or evicted.

    Args:
        ledgers: The ledgers.
        viewer: Who reads.
        status: How recording goes; None if nothing is recorded.
    """
    is_operator = viewer.experiment is None
    totals = [_totals(ledger, viewer) for ledger in ledgers]
    problem = status.problem if status is not None else None
    recording = Recording(
        groups=sum(each.groups for each in totals),
        rollouts=sum(each.rollouts for each in totals),
        bytes=size_bytes(ledgers) if is_operator else None,
        max_bytes=status.max_bytes if status is not None and is_operator else None,
        dropped={reason: count for reason, count in status.dropped.items() if count}
        if status is not None and is_operator
        else {},
        evicted_groups=sum(each.evicted_groups for each in totals),
        is_recording=status is not None and problem is None,
        problem=problem if is_operator or problem is None else "groups are not recorded now",
    )
    return Runs(ledger=recording, runs=_runs(ledgers, viewer))


@dataclass(frozen=True, slots=True)
class _Totals:
    """What a ledger holds of all runs that a viewer may see, and what was evicted of them."""

    groups: int
    rollouts: int
    evicted_groups: int


def _totals(ledger: Ledger, viewer: Viewer) -> _Totals:
    marks = ", ".join("?" * len(SHOWN))
    with ledger.reading() as connection:
        recorded = connection.execute(
            "SELECT coalesce(sum(groups), 0), coalesce(sum(rollouts), 0) FROM runs CROSS JOIN points ON "
            f"run_id = runs.id AND endpoint IN ({marks}) AND unit = 'run' AND at = 0 "
            "WHERE ? IS NULL OR experiment = ?",
            (*SHOWN, viewer.experiment, viewer.experiment),
        ).fetchone()
        evicted = connection.execute(
            "SELECT coalesce(sum(groups), 0), coalesce(sum(rollouts), 0) FROM evictions JOIN runs ON runs.id = run_id "
            "WHERE ?1 IS NULL OR experiment = ?1",
            (viewer.experiment,),
        ).fetchone()
        gone = evicted_with_runs(connection) if viewer.experiment is None else 0
    return _Totals(recorded[0] - evicted[0], recorded[1] - evicted[1], evicted[0] + gone)


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


def evicted_with_runs(connection: sqlite3.Connection) -> int:
    """Evicted groups of runs of which nothing is left."""
    found = connection.execute("SELECT groups FROM evictions WHERE run_id = ?", (EVICTED_RUNS,)).fetchone()
    return 0 if found is None else int(found["groups"])


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
    endpoints = timeline.endpoints_of(connection, row)
    marks = ", ".join("?" * len(endpoints))
    totals = connection.execute(
        "SELECT sum(groups) AS groups, sum(rollouts) AS rollouts, sum(words * rollouts / groups) AS words, "
        f"min(first_s) AS first_s FROM points WHERE run_id = ? AND endpoint IN ({marks}) AND unit = 'run'",
        (row, *endpoints),
    ).fetchone()
    evicted = connection.execute("SELECT groups FROM evictions WHERE run_id = ?", (row,)).fetchone()
    endpoint = min(endpoints, key=SHOWN.index)
    course = _course(connection, row, endpoint)
    updates = [timeline.bounds(connection, row, each, "update") for each in endpoints]
    return Run(
        id=str(run.id),
        experiment=run.experiment,
        source=run.source,
        groups=totals["groups"],
        rollouts=totals["rollouts"],
        words=totals["words"],
        first_s=totals["first_s"],
        last_s=last_s,
        groups_per_minute=_groups_per_minute(connection, row, totals["first_s"], last_s),
        endpoint=endpoint,
        last_update=max((ends[1] for ends in updates if ends is not None), default=None),
        reward=[point["reward"] / point["rewarded"] for point in course if point["rewarded"]],
        entropy_nats=[point["entropy_nats"] / point["answered"] for point in course if point["answered"]],
        dominant_share=[point["dominant_share"] / point["groups"] for point in course],
        evicted_groups=0 if evicted is None else evicted["groups"],
    )


def _groups_per_minute(
    connection: sqlite3.Connection, run: int, first_s: float, last_s: float
) -> float | None:
    """The run's pace; None if its groups came within a second, as those of an import do."""
    count, since_s = connection.execute(
        "SELECT count(*), min(received_s) FROM (SELECT received_s FROM groups INDEXED BY groups_by_time "
        "WHERE run_id = ? AND received_s > ? ORDER BY received_s DESC LIMIT ?)",
        (run, last_s - PACE_S, PACE_GROUPS),
    ).fetchone()
    seconds = last_s - since_s if count == PACE_GROUPS else min(PACE_S, last_s - first_s)
    return 60.0 * count / seconds if seconds >= 1.0 else None


def _course(connection: sqlite3.Connection, run: int, endpoint: str) -> Sequence[sqlite3.Row]:
    """At most `COURSE` of the run's points, evenly spaced, up to the last one: those of an endpoint."""
    unit = timeline.unit_of(connection, run, [endpoint])
    ends = timeline.bounds(connection, run, endpoint, unit)
    assert ends is not None
    first, last = ends
    course, at = [], last
    step = -(-(last - first + 1) // COURSE)
    while at >= first:
        point = connection.execute(
            "SELECT * FROM points WHERE run_id = ? AND endpoint = ? AND unit = ? AND at <= ? ORDER BY at DESC LIMIT 1",
            (run, endpoint, unit, at),
        ).fetchone()
        course.append(point)
        at = last - ((last - point["at"]) // step + 1) * step
    return course[::-1]
