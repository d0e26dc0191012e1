"""Pages of groups, filtered and sorted.

Each run's groups are read in the order of an index, or, where a filter leaves few of them, from that filter's index and
sorted. The runs are merged. A page ends when it is full, or when as much was examined as one call may.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ireasoner.reward_server.ledger import cursor, visible
from ireasoner.reward_server.ledger.cursor import Position
from ireasoner.reward_server.ledger.group_query import INDEXES, Condition, GroupQuery, Parameters
from ireasoner.reward_server.ledger.ledger_wire import Groups, Summary
from ireasoner.reward_server.ledger.ledgers import Ledgers, Viewer, no_such
from ireasoner.reward_server.ledger.summaries import summaries

EXAMINED = 20_000
"""Work of one call, in units of reading a row of an index and its group."""
FEW, LEAST_FEW = 2_000, 64
"""Groups that one call sorts by itself; of each run at least the second number."""
FIRST_CHUNK, LARGEST_CHUNK = 16, 1_024


@dataclass(frozen=True, slots=True)
class _Examined:
    """A group that was looked at, where it is in the order, and whether it meets all conditions."""

    position: Position
    matches: bool


@dataclass(frozen=True, slots=True)
class _RunGroups:
    """The groups of one run, in order, from behind a position."""

    connection: sqlite3.Connection
    ledger: int
    run: int
    query: GroupQuery
    after: Position | None
    few: int

    def examined(self) -> Iterator[_Examined]:
        """Every group that has to be looked at."""
        conditions = list(self.query.conditions(self.run))
        narrow = self._narrowest(conditions)
        if narrow is not None:
            yield from self._sorted(narrow, conditions)
        else:
            yield from self._walked(conditions)

    def _narrowest(self, conditions: Sequence[Condition]) -> str | None:
        """The index that leaves the fewest groups, if these are few."""
        by_index: dict[str, list[Condition]] = {}
        for each in conditions:
            if each.index is not None and each.index != INDEXES[self.query.sort]:
                by_index.setdefault(each.index, []).append(each)
        counts = {index: self._count(index, own) for index, own in by_index.items()}
        best = min(counts, key=lambda index: counts[index], default=None)
        return None if best is None or counts[best] > self.few else best

    def _count(self, index: str, conditions: Sequence[Condition]) -> int:
        """How many groups the index leaves, `few` + 1 if more than `few`."""
        where, parameters = self._where(conditions, index)
        counted = f"SELECT count(*) FROM (SELECT 1 FROM groups INDEXED BY {index} WHERE {where} LIMIT ?)"
        return int(self.connection.execute(counted, (*parameters, self.few + 1)).fetchone()[0])

    def _where(self, conditions: Sequence[Condition], index: str) -> tuple[str, Parameters]:
        sql = [each.sql for each in conditions]
        parameters = tuple(value for each in conditions for value in each.parameters)
        if index == "groups_by_question":
            return " AND ".join([*sql, "+run_id = ?"]), (*parameters, self.run)
        return " AND ".join(["run_id = ?", *sql]), (self.run, *parameters)

    def _sorted(self, index: str, conditions: Sequence[Condition]) -> Iterator[_Examined]:
        """The groups that meet the conditions, found by `index` and sorted here."""
        sort = self.query.sort
        behind, parameters = self._behind()
        where, values = self._where(conditions, index)
        found = self.connection.execute(
            f"SELECT {sort}, id FROM groups INDEXED BY {index} WHERE {where} AND +{sort} IS NOT NULL AND {behind}",
            (*values, *parameters),
        )
        positions = [Position(value, self.ledger, row) for value, row in found]
        for position in sorted(positions, reverse=self.query.is_descending):
            yield _Examined(position, True)

    def _walked(self, conditions: Sequence[Condition]) -> Iterator[_Examined]:
        """The groups in the order of the sort's index, each with whether it meets the conditions."""
        sort, order = self.query.sort, self.query.order
        matches = " AND ".join(each.sql for each in conditions) or "1"
        checked = tuple(value for each in conditions for value in each.parameters)
        chunk, walk = FIRST_CHUNK, self
        while True:
            behind, parameters = walk._behind()
            found = self.connection.execute(
                f"SELECT {sort}, id, {matches} FROM groups INDEXED BY {INDEXES[sort]} "
                f"WHERE run_id = ? AND {sort} IS NOT NULL AND {behind} ORDER BY {sort} {order}, id {order} LIMIT ?",
                (*checked, self.run, *parameters, chunk),
            ).fetchall()
            last = None
            for value, row, is_match in found:
                last = Position(value, self.ledger, row)
                yield _Examined(last, bool(is_match))
            if len(found) < chunk:
                return
            walk = _RunGroups(self.connection, self.ledger, self.run, self.query, last, self.few)
            chunk = min(2 * chunk, LARGEST_CHUNK)

    def _behind(self) -> tuple[str, Parameters]:
        """The condition that a group comes after the position."""
        if self.after is None:
            return "1", ()
        sort, sign = self.query.sort, "<" if self.query.is_descending else ">"
        value, ledger, row = self.after
        if ledger == self.ledger:
            return f"({sort}, id) {sign} (?, ?)", (value, row)
        is_later = (self.ledger < ledger) == self.query.is_descending
        return f"{sort} {sign}{'=' if is_later else ''} ?", (value,)


@dataclass(frozen=True, slots=True)
class Page:
    """Positions of matching groups, in order, and where to go on; `is_complete` is false if work ended the page."""

    positions: list[Position]
    next: Position | None
    is_complete: bool


def page(ledgers: Ledgers, viewer: Viewer, query: GroupQuery, limit: int, after: str | None) -> Groups:
    """The `limit` groups after a cursor that the viewer may see.

    Raises:
        MalformedRequest: The cursor belongs to another query.
        NoSuchRecord: The viewer may not see the query's run or question, or it does not exist.
    """
    key = f"{viewer} {query}"
    start = None if after is None else cursor.read(after, key)
    with ExitStack() as opened:
        connections = _connections(ledgers, query, opened)
        found = _page(connections, viewer, query, limit, start)
        by_ledger = {
            ledger: summaries(connection, ledger, _rows(found.positions, ledger))
            for ledger, connection in connections.items()
        }
    groups: list[Summary] = [by_ledger[each.ledger][each.row] for each in found.positions]
    following = None if found.next is None else cursor.written(found.next, key)
    return Groups(groups=groups, next=following, is_complete=found.is_complete)


def _connections(ledgers: Ledgers, query: GroupQuery, opened: ExitStack) -> dict[int, sqlite3.Connection]:
    """A connection to each ledger that can have matching groups."""
    only = query.run or query.question
    chosen = list(ledgers) if only is None else [ledgers.of(only)]
    connections = {each.index: opened.enter_context(each.reading()) for each in chosen}
    for connection in connections.values():
        query.text.install(connection)
    return connections


def _rows(positions: Sequence[Position], ledger: int) -> list[int]:
    return [each.row for each in positions if each.ledger == ledger]


def _page(
    connections: dict[int, sqlite3.Connection],
    viewer: Viewer,
    query: GroupQuery,
    limit: int,
    start: Position | None,
) -> Page:
    runs = _runs(connections, viewer, query)
    few = max(FEW // max(1, len(runs)), LEAST_FEW)
    walks = [
        _RunGroups(connections[each.id.ledger], each.id.ledger, each.id.row, query, start, few).examined()
        for each in runs
    ]
    cost = max((sum(each.cost for each in query.conditions(0)), 1))
    left = max(1, EXAMINED // cost)
    positions: list[Position] = []
    last = None
    merged = heapq.merge(*walks, key=lambda each: each.position, reverse=query.is_descending)
    for examined in merged:
        if len(positions) == limit or left == 0:
            return Page(positions, last, is_complete=len(positions) == limit)
        last = examined.position
        left -= 1
        if examined.matches:
            positions.append(examined.position)
    return Page(positions, None, is_complete=True)


def _runs(
    connections: dict[int, sqlite3.Connection], viewer: Viewer, query: GroupQuery
) -> list[visible.VisibleRun]:
    """The runs whose groups the query can match."""
    only = None if query.run is None else visible.run(connections[query.run.ledger], query.run, viewer)
    if query.question is not None:
        if only is not None and only.id.ledger != query.question.ledger:
            raise no_such(query.question)
        asked = visible.run_of(connections[query.question.ledger], "questions", query.question, viewer)
        if only not in (None, asked):
            raise no_such(query.question)
        only = asked
    if only is not None:
        return [only]
    return [
        run for ledger, connection in connections.items() for run in visible.runs(connection, ledger, viewer)
    ]
