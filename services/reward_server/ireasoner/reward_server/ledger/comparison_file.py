"""Writes a comparison: its plan once, and its groups as they are scored."""

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ireasoner.reward_server.ledger import comparison
from ireasoner.reward_server.ledger.group_change import GroupChange
from ireasoner.reward_server.ledger.schema import BUSY_TIMEOUT_S, LedgerUnusable


class OtherPlan(Exception):
    """A comparison of this name compares something else."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a comparison compares.

    Attributes:
        config: Label of the config that groups are scored with.
        against: Label of the other one; None: as they are stored.
        request: Everything that the result depends on.
    """

    config: str
    against: str | None
    request: Mapping[str, Any]


class ComparisonFile:
    """A comparison that is being written; what was added is kept, whatever ends the process.

    Args:
        folder: The ledger's folder.
        name: The comparison; if it exists, it is continued.
        plan: What it compares.

    Raises:
        OtherPlan: It exists with another plan.
        LedgerUnusable: The file cannot be written, or is not a comparison of this version.
        ValueError: The name cannot be one.
    """

    def __init__(self, folder: Path, name: str, plan: Plan) -> None:
        self._file = comparison.file_of(folder, name)
        try:
            self._file.parent.mkdir(exist_ok=True)
            self._connection = sqlite3.connect(self._file, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnusable(f"{self._file}: {error}") from error
        try:
            self._begin(plan)
        except sqlite3.Error as error:
            self._connection.close()
            raise LedgerUnusable(f"{self._file}: {error}") from error
        except BaseException:
            self._connection.close()
            raise

    def _begin(self, plan: Plan) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("BEGIN IMMEDIATE")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        request = json.dumps(plan.request, sort_keys=True)
        if version == 0:
            comparison.create(self._connection)
            self._connection.execute(
                "INSERT INTO plan VALUES (?, ?, ?, ?, 0)", (plan.config, plan.against, time.time(), request)
            )
        else:
            comparison.check_version(self._file, self._connection)
            if self._connection.execute("SELECT request FROM plan").fetchone()[0] != request:
                raise OtherPlan(
                    f"{self._file} compares other groups, or was made with other configs or another embedder: choose "
                    "another --name, or remove the file"
                )
        self._connection.execute("COMMIT")

    def done(self) -> set[int]:
        """The groups that it has."""
        found = self._connection.execute("SELECT group_id FROM rows UNION SELECT group_id FROM failures")
        return {row[0] for row in found}

    def expect(self, groups: int) -> None:
        """Sets the number of groups to compare."""
        self._connection.execute("UPDATE plan SET groups = ?", (groups,))

    def add(
        self,
        changes: Iterable[tuple[int, str, GroupChange]],
        failures: Sequence[tuple[int, str, str]] = (),
    ) -> None:
        """Adds groups (id, experiment and change), and groups that could not be scored (id, experiment and reason)."""
        rows = [_row(*each) for each in changes]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(comparison.INSERT_ROW, rows)
        self._connection.executemany("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", failures)
        self._connection.execute("COMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def _row(group_id: int, experiment: str, change: GroupChange) -> tuple[object, ...]:
    return (
        group_id,
        experiment,
        json.dumps(change.before),
        json.dumps(change.after),
        len(change.after),
        change.changed,
        change.change,
        change.rank_flips,
        change.dominant_before,
        change.dominant_after,
        change.dominant_before != change.dominant_after,
        *change.moments,
    )
