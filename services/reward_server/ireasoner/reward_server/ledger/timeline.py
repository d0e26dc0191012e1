"""A run's figures over time, from the sums that the ledger keeps of every update or minute."""

import sqlite3
from collections.abc import Sequence

from ireasoner.reward_server.ledger import visible
from ireasoner.reward_server.ledger.ledger_wire import Point, Timeline, Unit
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer

SUMS = (
    "groups",
    "rollouts",
    "invalid",
    "abstained",
    "ties",
    "flat",
    "flips",
    "flips_known",
    "correct",
    "correct_known",
    "rewarded",
    "reward",
    "outcome",
    "trajectory",
    "proposer_reward",
    "answered",
    "entropy_nats",
    "dominant_share",
    "words",
    "counted",
    "steps",
)
"""Columns of `points` that are sums."""
_WITH_OUTCOME, _WITH_TRAJECTORY = "('outcome', 'solver')", "('trajectory', 'solver')"
"""Endpoints that compute this part of the reward."""
_SUMMED = ", ".join(
    [
        *(f"sum({name}) AS {name}" for name in SUMS),
        f"sum(CASE WHEN endpoint IN {_WITH_OUTCOME} THEN rewarded ELSE 0 END) AS with_outcome",
        f"sum(CASE WHEN endpoint IN {_WITH_TRAJECTORY} THEN rewarded ELSE 0 END) AS with_trajectory",
    ]
)


def timeline(
    ledgers: Ledgers,
    viewer: Viewer,
    record: RecordId,
    endpoint: str | None,
    since: int | None,
    until: int | None,
    points: int,
) -> Timeline:
    """At most `points` points of a run, the last update or minute apart.

    Raises NoSuchRecord if the viewer may not see the run.
    """
    with ledgers.of(record).reading() as connection:
        visible.run(connection, record, viewer)
        endpoints = endpoints_of(connection, record.row)
        chosen = [each for each in endpoints if endpoint in (None, each)]
        unit = unit_of(connection, record.row, chosen)
        found = _points(connection, record.row, chosen, unit, since, until, points)
    return Timeline(unit=unit, endpoints=endpoints, points=found)


def endpoints_of(connection: sqlite3.Connection, run: int) -> list[str]:
    """The endpoints that a run called, each found with one search of the index."""
    found: list[str] = []
    while row := connection.execute(
        "SELECT endpoint FROM points WHERE run_id = ? AND endpoint > ? ORDER BY endpoint LIMIT 1",
        (run, found[-1] if found else ""),
    ).fetchone():
        found.append(row["endpoint"])
    return found


def unit_of(connection: sqlite3.Connection, run: int, endpoints: Sequence[str]) -> Unit:
    """What the run's points are of: updates, if it said any."""
    for endpoint in endpoints:
        if bounds(connection, run, endpoint, "update") is not None:
            return "update"
    return "minute"


def bounds(connection: sqlite3.Connection, run: int, endpoint: str, unit: Unit) -> tuple[int, int] | None:
    """The first and the last update or minute with groups; None if there is none."""
    of = "FROM points WHERE run_id = ? AND endpoint = ? AND unit = ? ORDER BY at"
    key = (run, endpoint, unit)
    first = connection.execute(f"SELECT at {of} LIMIT 1", key).fetchone()
    last = connection.execute(f"SELECT at {of} DESC LIMIT 1", key).fetchone()
    return None if first is None or last is None else (first["at"], last["at"])


def _points(
    connection: sqlite3.Connection,
    run: int,
    endpoints: list[str],
    unit: Unit,
    since: int | None,
    until: int | None,
    points: int,
) -> list[Point]:
    ends = [found for each in endpoints if (found := bounds(connection, run, each, unit)) is not None]
    if not ends:
        return []
    first = max(min(low for low, _ in ends), -(2**63) if since is None else since)
    last = min(max(high for _, high in ends), 2**63 - 1 if until is None else until)
    if first > last:
        return []
    apart = (
        last if points > 1 else None
    )  # it has a point of its own, which is the last figure that a reader sees
    width = last - first + 1 if apart is None else max(1, -(-(last - first) // (points - 1)))
    marks = ", ".join("?" * len(endpoints))
    rows = connection.execute(
        f"SELECT min(at) AS at, max(at) AS until, min(first_s) AS first_s, max(last_s) AS last_s, {_SUMMED} "
        f"FROM points WHERE run_id = ? AND endpoint IN ({marks}) AND unit = ? AND at BETWEEN ? AND ? "
        "GROUP BY at = ?, (at - ?) / ? ORDER BY 1",
        (run, *endpoints, unit, first, last, apart, first, width),
    )
    return [_point(row) for row in rows]


def _point(row: sqlite3.Row) -> Point:
    groups, rollouts = row["groups"], row["rollouts"]
    return Point(
        **{name: row[name] for name in ("at", "until", "groups", "rollouts", "first_s", "last_s")},
        reward=_share(row["reward"], row["rewarded"]),
        outcome=_share(row["outcome"], row["with_outcome"]),
        trajectory=_share(row["trajectory"], row["with_trajectory"]),
        proposer_reward=row["proposer_reward"] / groups,
        entropy_nats=_share(row["entropy_nats"], row["answered"]),
        dominant_share=row["dominant_share"] / groups,
        flat_share=_share(row["flat"], row["rewarded"]),
        tie_share=row["ties"] / groups,
        abstained_share=row["abstained"] / rollouts,
        invalid_share=row["invalid"] / rollouts,
        words=row["words"] / groups,
        steps=_share(row["steps"], row["counted"]),
        flip_share=_share(row["flips"], row["flips_known"]),
        correct_share=_share(row["correct"], row["correct_known"]),
    )


def _share(total: float, count: int) -> float | None:
    return total / count if count else None
