"""The comparisons beside the ledgers: those of one name that score alike are one comparison of all their groups.

If a name stands for several scorings, only the newest of them is shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ireasoner.reward_server.ledger import comparison, cursor
from ireasoner.reward_server.ledger.comparison import Comparison
from ireasoner.reward_server.ledger.cursor import Position
from ireasoner.reward_server.ledger.ledger_wire import (
    ComparedGroup,
    ComparedGroups,
    Comparisons,
    ComparisonSort,
    ComparisonState,
)
from ireasoner.reward_server.ledger.ledgers import Ledger, Ledgers, Viewer, no_such
from ireasoner.reward_server.ledger.schema import LedgerUnusable
from ireasoner.reward_server.ledger.summaries import summaries

MOST = 200
"""Comparisons that are listed."""
_BEFORE_ALL, _BEHIND_ALL = 0, 2**63 - 1
"""Ids before and behind those of all groups."""


def comparisons(ledgers: Ledgers, viewer: Viewer) -> Comparisons:
    """The comparisons that have groups which the viewer may see, the newest first."""
    names = {name for ledger in ledgers for name in comparison.names(ledger.folder)}
    found = (list(_parts(ledgers, name, viewer).values()) for name in sorted(names))
    merged = sorted((_merged(parts) for parts in found if parts), key=lambda each: -each.created_s)
    return Comparisons(comparisons=merged[:MOST])


def compared_groups(
    ledgers: Ledgers, viewer: Viewer, name: str, sort: ComparisonSort, limit: int, after: str | None
) -> ComparedGroups:
    """A page of a comparison's groups, less those that were evicted since.

    Raises:
        MalformedRequest: The cursor belongs to another query.
        NoSuchRecord: There is no such comparison, or none of its groups may be seen.
    """
    key = f"{viewer} {name} {sort}"
    start = None if after is None else cursor.read(after, key)
    parts = _parts(ledgers, name, viewer)
    if not parts:
        raise no_such(name)
    rows = [row for ledger in parts for row in _rows(ledger, viewer, name, sort, limit + 1, start)]
    rows.sort(key=lambda row: (-row[0].value, row[0].ledger, row[0].row))
    shown = rows[:limit]
    return ComparedGroups(
        comparison=_merged(list(parts.values())),
        rows=list(_with_summaries(list(parts), shown)),
        next=cursor.written(shown[-1][0], key) if len(rows) > limit else None,
    )


def _rows(
    ledger: Ledger, viewer: Viewer, name: str, sort: ComparisonSort, limit: int, start: Position | None
) -> Iterator[tuple[Position, comparison.ComparedGroup]]:
    """The groups of one ledger behind a position."""
    after = None
    if start is not None:
        beside = _BEFORE_ALL if ledger.index > start.ledger else _BEHIND_ALL
        after = (start.value, start.row if ledger.index == start.ledger else beside)
    found = comparison.compared(
        ledger.folder, name, sort=sort, limit=limit, after=after, experiment=viewer.experiment
    )
    for row in found:
        value = row.change if sort == "change" else row.rank_flips
        yield Position(float(value), ledger.index, row.group_id), row


def _with_summaries(
    ledgers: Sequence[Ledger], rows: Sequence[tuple[Position, comparison.ComparedGroup]]
) -> Iterator[ComparedGroup]:
    known = {}
    for ledger in ledgers:
        with ledger.reading() as connection:
            wanted = [position.row for position, _ in rows if position.ledger == ledger.index]
            for row, summary in summaries(connection, ledger.index, wanted).items():
                known[ledger.index, row] = summary
    for position, change in rows:
        group = known.get((position.ledger, position.row))
        if group is not None:
            yield ComparedGroup(
                group=group,
                before=list(change.before),
                after=list(change.after),
                change=change.change,
                rank_flips=change.rank_flips,
                dominant_before=change.dominant_before,
                dominant_after=change.dominant_after,
            )


def _parts(ledgers: Ledgers, name: str, viewer: Viewer) -> dict[Ledger, Comparison]:
    """A comparison's part of each ledger: those that score as the newest one does."""
    found = {
        ledger: part
        for ledger in ledgers
        if comparison.exists(ledger.folder, name) and (part := _read(ledger, name, viewer)) is not None
    }
    newest = max(found.values(), key=lambda part: part.created_s, default=None)
    return {ledger: part for ledger, part in found.items() if newest and part.scoring == newest.scoring}


def _read(ledger: Ledger, name: str, viewer: Viewer) -> Comparison | None:
    """A comparison as far as the viewer may see it; None if it may see nothing of it, or it cannot be read yet."""
    file = comparison.file_of(ledger.folder, name)
    stamps = tuple(_stamp(each) for each in (file, file.with_name(f"{file.name}-wal")))
    try:
        found = _read_once(ledger.folder, name, viewer.experiment, stamps)
    except LedgerUnusable:  # of another version, or about to be created
        return None
    return found if viewer.experiment is None or found.done else None


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _read_once(folder: Path, name: str, experiment: str | None, stamps: object) -> Comparison:
    """A comparison, whose sums are over all of its groups, while its files have these `stamps`."""
    return comparison.read(folder, name, experiment)


def _merged(parts: Sequence[Comparison]) -> ComparisonState:
    """The parts of a comparison in several ledgers as one."""
    first = parts[0]
    return ComparisonState(
        name=first.name,
        config=first.config,
        against=first.against,
        created_s=min(part.created_s for part in parts),
        groups=sum(part.groups for part in parts),
        done=sum(part.done for part in parts),
        summary=_summed([part.summary for part in parts]),
    )


def _summed(summaries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts add up; a correlation does not, so that of several ledgers is null."""
    if len(summaries) == 1:
        return dict(summaries[0])
    return {
        name: None if name == "correlation" else sum(each[name] for each in summaries)
        for name in summaries[0]
    }
