"""Comparisons: stored groups scored anew, each comparison in a SQLite file of its own beside the ledger.

`rescore` writes them and the explorer reads them. The ledger itself is never written, so that both work beside a
running server. A comparison over several ledgers has a file of the same name in each folder.
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ireasoner.reward_server.ledger.read_call import ReadConnection, interruptible
from ireasoner.reward_server.ledger.schema import BUSY_TIMEOUT_S, COMPARISONS, LedgerUnusable

VERSION = 1
"""`user_version` of the file; a file of another version is refused."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", re.ASCII)
"""What a comparison can be called: it is the name of its file."""
Sort = Literal["change", "flips"]

_TABLES = """
CREATE TABLE plan (              -- one row: what is compared
    config TEXT NOT NULL,        -- the label of the config that groups are scored with
    against TEXT,                -- and of the one that they are compared with; NULL: as they are stored
    created_s REAL NOT NULL,     -- seconds since 1970
    request TEXT NOT NULL,       -- both configs with all fields, the embedder and the filters, as JSON
    groups INTEGER NOT NULL      -- to compare
) STRICT;

CREATE TABLE rows (
    group_id INTEGER PRIMARY KEY,
    experiment TEXT NOT NULL,
    before TEXT NOT NULL,        -- one reward per rollout or null, as JSON; a group scored for the Proposer has one
    after TEXT NOT NULL,
    rollouts INTEGER NOT NULL,   -- rewards
    changed INTEGER NOT NULL,    -- rewards that differ
    change REAL NOT NULL,        -- largest absolute difference of a reward
    rank_flips INTEGER NOT NULL, -- pairs of rollouts that changed their order
    dominant_before TEXT,
    dominant_after TEXT,
    dominant_changed INTEGER NOT NULL,
    pairs INTEGER NOT NULL,      -- rollouts with a reward before and after, and the sums for their correlation
    sum_before REAL NOT NULL,
    sum_after REAL NOT NULL,
    sum_before_before REAL NOT NULL,
    sum_after_after REAL NOT NULL,
    sum_before_after REAL NOT NULL
) STRICT;
CREATE INDEX rows_by_change ON rows (change DESC, group_id);
CREATE INDEX rows_by_flips ON rows (rank_flips DESC, group_id);
CREATE INDEX rows_by_experiment_and_change ON rows (experiment, change DESC, group_id);
CREATE INDEX rows_by_experiment_and_flips ON rows (experiment, rank_flips DESC, group_id);

CREATE TABLE failures (          -- groups that could not be scored, and why
    group_id INTEGER PRIMARY KEY,
    experiment TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
"""

INSERT_ROW = f"INSERT OR REPLACE INTO rows VALUES ({', '.join('?' * 17)})"

_SUMS = """
SELECT count(*), coalesce(sum(rollouts), 0), coalesce(sum(changed), 0), coalesce(sum(changed > 0), 0),
    coalesce(sum(rank_flips), 0), coalesce(sum(rank_flips > 0), 0), coalesce(sum(dominant_changed), 0),
    coalesce(sum(pairs), 0), coalesce(sum(sum_before), 0), coalesce(sum(sum_after), 0),
    coalesce(sum(sum_before_before), 0), coalesce(sum(sum_after_after), 0), coalesce(sum(sum_before_after), 0)
FROM rows WHERE ?1 IS NULL OR experiment = ?1
"""
_ORDER = {"change": "change", "flips": "rank_flips"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison, as far as it is done.

    Attributes:
        name: Its name.
        config: Label of the config that groups are scored with.
        against: Label of the config that they are compared with; None: as they are stored.
        scoring: All fields of both configs, and the embedder: equal for parts of one comparison in several ledgers.
        created_s: Seconds since 1970.
        groups: Groups to compare; for one experiment, those that are done.
        done: Groups that are compared, or could not be.
        summary: `rollouts`, `changed_rewards`, `changed_groups`, `rank_flips`, `groups_with_flips`,
            `changed_dominant_answers`, `correlation` (of the rewards before and after; null if it is not defined) and
            `failed`.
    """

    name: str
    config: str
    against: str | None
    scoring: Mapping[str, Any]
    created_s: float
    groups: int
    done: int
    summary: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ComparedGroup:
    """One group of a comparison; `group_id` is its row in the ledger, from which it may be evicted by now."""

    group_id: int
    before: Sequence[float | None]
    after: Sequence[float | None]
    change: float
    rank_flips: int
    dominant_before: str | None
    dominant_after: str | None


def file_of(folder: Path, name: str) -> Path:
    """The file of a comparison, which need not exist; raises ValueError if that cannot be its name."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a name for a comparison: use letters, digits, dots, dashes, underscores and plus "
            "signs, at most 100, first a letter or digit"
        )
    return folder / COMPARISONS / f"{name}.sqlite"


def names(folder: Path) -> list[str]:
    """The comparisons of a folder, sorted by name."""
    files = (folder / COMPARISONS).glob("*.sqlite")
    return sorted(file.stem for file in files if NAME.fullmatch(file.stem))


def exists(folder: Path, name: str) -> bool:
    """Whether a folder has this comparison."""
    return NAME.fullmatch(name) is not None and file_of(folder, name).is_file()


def read(folder: Path, name: str, experiment: str | None = None) -> Comparison:
    """A comparison of a folder; with an `experiment`, of its groups alone.

    Raises:
        LedgerUnusable: It cannot be read.
    """
    with reading(folder, name) as connection:
        config, against, request, created_s, groups = connection.execute(
            "SELECT config, against, request, created_s, groups FROM plan"
        ).fetchone()
        sums = connection.execute(_SUMS, (experiment,)).fetchone()
        failed = connection.execute(
            "SELECT count(*) FROM failures WHERE ?1 IS NULL OR experiment = ?1", (experiment,)
        ).fetchone()[0]
    done = sums[0] + failed
    return Comparison(
        name=name,
        config=config,
        against=against,
        scoring={field: value for field, value in json.loads(request).items() if field != "which"},
        created_s=created_s,
        groups=groups if experiment is None else done,
        done=done,
        summary=_summary(sums, failed),
    )


def compared(
    folder: Path,
    name: str,
    *,
    sort: Sort = "change",
    limit: int = 50,
    after: tuple[float, int] | None = None,
    experiment: str | None = None,
) -> list[ComparedGroup]:
    """The groups of a comparison, the most changed first; with an `experiment`, its groups alone.

    Args:
        folder: The ledger's folder.
        name: The comparison.
        sort: By the largest change of a reward, or by the number of rank flips.
        limit: Most groups to return.
        after: Where the page before ended: that figure of its last group, and the group's id.
        experiment: Whose groups; None for all.

    Raises:
        LedgerUnusable: It cannot be read.
    """
    order = _ORDER[sort]
    conditions = ["1"]
    if experiment is not None:
        conditions.append("experiment = :experiment")
    if after is not None:
        conditions.append(f"{order} <= :value AND NOT ({order} = :value AND group_id <= :id)")
    value, group_id = after or (None, None)
    query = (
        "SELECT group_id, before, after, change, rank_flips, dominant_before, dominant_after FROM rows "
        f"WHERE {' AND '.join(conditions)} ORDER BY {order} DESC, group_id LIMIT :limit"
    )
    values = {"experiment": experiment, "limit": limit, "value": value, "id": group_id}
    with reading(folder, name) as connection:
        found = connection.execute(query, values)
        return [ComparedGroup(row[0], json.loads(row[1]), json.loads(row[2]), *row[3:]) for row in found]


@contextmanager
def reading(folder: Path, name: str) -> Iterator[sqlite3.Connection]:
    """A read-only connection to a comparison.

    Raises:
        LedgerUnusable: There is none of this version, or it cannot be read.
    """
    file = file_of(folder, name)
    try:
        connection = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,  # another thread may interrupt it
            factory=ReadConnection,
        )
        try:
            with interruptible(connection):
                check_version(file, connection)
                yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise LedgerUnusable(f"{file}: {error}") from error


def create(connection: sqlite3.Connection) -> None:
    """Creates the tables, within the caller's transaction."""
    for statement in _TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def check_version(file: Path, connection: sqlite3.Connection) -> None:
    """Refuses a file of another version; raises LedgerUnusable."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        raise LedgerUnusable(f"{file} is a comparison of version {version}; this server reads {VERSION}")


def _summary(sums: Sequence[Any], failed: int) -> dict[str, Any]:
    _, rollouts, changed, changed_groups, flips, with_flips, dominant, *moments = sums
    return {
        "rollouts": rollouts,
        "changed_rewards": changed,
        "changed_groups": changed_groups,
        "rank_flips": flips,
        "groups_with_flips": with_flips,
        "changed_dominant_answers": dominant,
        "correlation": _correlation(*moments),
        "failed": failed,
    }


def _correlation(
    pairs: int, before: float, after: float, before_2: float, after_2: float, both: float
) -> float | None:
    """Pearson's correlation from the sums over `pairs` pairs; None without spread on both sides."""
    if pairs < 2:
        return None
    variance = (before_2 - before * before / pairs) * (after_2 - after * after / pairs)
    if variance <= 1e-12 * pairs * pairs:
        return None
    return float(max(-1.0, min(1.0, (both - before * after / pairs) / variance**0.5)))
