"""Reads the groups of a ledger in the order of their arrival, in pages, so that a long reading blocks nobody."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ireasoner.reward_server.ledger.record import unpacked

PAGE = 64


@dataclass(frozen=True, slots=True)
class GroupFilter:
    """Which groups; None means all.

    Attributes:
        experiment: Of this experiment.
        run: Of the runs of this source.
        endpoint: That were scored by this endpoint.
        update_from: Of this update or a later one.
        update_until: Of this update or an earlier one.
    """

    experiment: str | None = None
    run: str | None = None
    endpoint: str | None = None
    update_from: int | None = None
    update_until: int | None = None

    @property
    def values(self) -> dict[str, object]:
        """The parameters of `CONDITION`."""
        return {
            "experiment": self.experiment,
            "run": self.run,
            "endpoint": self.endpoint,
            "update_from": self.update_from,
            "update_until": self.update_until,
        }


CONDITION = """
    (:experiment IS NULL OR experiment = :experiment) AND (:run IS NULL OR source = :run)
    AND (:endpoint IS NULL OR endpoint = :endpoint) AND (:update_from IS NULL OR at >= :update_from)
    AND (:update_until IS NULL OR at <= :update_until)
"""


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A group of a ledger: its row, whose it is, how it was scored, as it was sent and as it was scored then."""

    id: int
    experiment: str
    endpoint: str
    progress: float
    embedder: str
    sent: Mapping[str, Any]
    scored: Mapping[str, Any]


def group_ids(connection: sqlite3.Connection, which: GroupFilter) -> list[int]:
    """The ids of the groups, in the order of their arrival."""
    query = f"SELECT groups.id FROM groups JOIN runs ON runs.id = run_id WHERE {CONDITION} ORDER BY groups.id"
    return [row[0] for row in connection.execute(query, which.values)]


def stored_embedders(connection: sqlite3.Connection) -> list[str]:
    """The embedders that a ledger's groups were scored with."""
    return [row[0] for row in connection.execute("SELECT DISTINCT embedder FROM scorings ORDER BY embedder")]


def stored_groups(connection: sqlite3.Connection, ids: Sequence[int]) -> Iterator[list[StoredGroup]]:
    """The groups with these ids, in pages; those that were evicted meanwhile are left out."""
    for start in range(0, len(ids), PAGE):
        page = ids[start : start + PAGE]
        found = connection.execute(
            "SELECT groups.id, experiment, endpoint, progress, embedder, document FROM groups "
            "JOIN runs ON runs.id = run_id JOIN scorings ON scorings.id = scoring_id "
            f"JOIN documents ON group_id = groups.id WHERE groups.id IN ({', '.join('?' * len(page))}) "
            "ORDER BY groups.id",
            page,
        ).fetchall()
        yield [_group(*row) for row in found]


def _group(
    group_id: int, experiment: str, endpoint: str, progress: float, embedder: str, document: bytes
) -> StoredGroup:
    unpacked_document = unpacked(document)
    return StoredGroup(
        group_id,
        experiment,
        endpoint,
        progress,
        embedder,
        unpacked_document["group"],
        unpacked_document["scored"],
    )
