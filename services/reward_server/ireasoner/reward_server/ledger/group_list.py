"""Pages of groups, filtered and sorted.

The groups of each run come in order, and are merged. A page ends when it is full, or when as much was examined as one
call may.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ireasoner.reward_server.ledger import cursor, visible
from ireasoner.reward_server.ledger.cursor import Position
from ireasoner.reward_server.ledger.group_query import GroupQuery
from ireasoner.reward_server.ledger.ledger_wire import Groups
from ireasoner.reward_server.ledger.ledgers import Ledgers, Viewer, no_such
from ireasoner.reward_server.ledger.run_groups import Examined, RunGroups
from ireasoner.reward_server.ledger.search import TextMatches
from ireasoner.reward_server.ledger.summaries import summaries
from ireasoner.reward_server.ledger.visible import VisibleRun

EXAMINED = 10_000
"""Work of one call, in units of reading a row."""
FEW, LEAST_FEW = 2_000, 64
"""Groups that one call sorts by itself; of each run at least the second number."""


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
    only = query.run or query.question
    with ExitStack() as opened:
        chosen = list(ledgers) if only is None else [ledgers.of(only)]
        connections = {each.index: opened.enter_context(each.reading()) for each in chosen}
        found = _Listing(connections, viewer, query, start).page(limit)
        listed = {
            (index, row): summary
            for index, connection in connections.items()
            for row, summary in summaries(connection, index, _rows(found.positions, index)).items()
        }
    groups = [listed[each.ledger, each.row] for each in found.positions]
    following = None if found.next is None else cursor.written(found.next, key)
    return Groups(groups=groups, next=following, is_complete=found.is_complete)


def _rows(positions: Sequence[Position], ledger: int) -> list[int]:
    return [each.row for each in positions if each.ledger == ledger]


class _Listing:
    """One call for a page."""

    def __init__(
        self,
        connections: Mapping[int, sqlite3.Connection],
        viewer: Viewer,
        query: GroupQuery,
        start: Position | None,
    ) -> None:
        self._connections = connections
        self._viewer = viewer
        self._query = query
        self._start = start
        self._runs = self._visible_runs()
        self._texts = {
            index: TextMatches(
                connection,
                query.text,
                None
                if self._are_all_runs
                else [each.id.row for each in self._runs if each.id.ledger == index],
                by_time=query.sort == "received_s",
            )
            for index, connection in connections.items()
        }

    def page(self, limit: int) -> Page:
        """The next `limit` groups."""
        descending = self._query.is_descending
        merged = heapq.merge(*self._walks(), key=lambda each: each.position, reverse=descending)
        positions: list[Position] = []
        last = None
        rows = 0
        for examined in merged:
            is_full = len(positions) == limit
            if is_full or (rows and rows + self._text_cost >= EXAMINED):
                return Page(positions, last, is_complete=is_full)
            last = examined.position
            rows += examined.rows
            if examined.matches and last.row in self._texts[last.ledger]:
                positions.append(last)
        is_partial = any(each.is_partial for each in self._texts.values())
        return Page(positions, None, is_complete=not is_partial)

    @property
    def _text_cost(self) -> int:
        return sum(each.cost for each in self._texts.values())

    def _walks(self) -> Iterator[Iterator[Examined]]:
        """The groups of each run."""
        few = max(FEW // max(1, len(self._runs)), LEAST_FEW)
        candidates = {
            index: None
            if (rows := self._texts[index].candidates) is None
            else visible.by_run(connection, rows)
            for index, connection in self._connections.items()
        }
        for run in self._runs:
            index, row = run.id
            known = candidates[index]
            own = None if known is None else known.get(row, [])
            connection = self._connections[index]
            can_match = self._texts[index].can_have
            yield RunGroups(connection, index, row, self._query, self._start, few, own, can_match).examined()

    @property
    def _are_all_runs(self) -> bool:
        return self._viewer.experiment is None and self._query.run is None and self._query.question is None

    def _visible_runs(self) -> list[VisibleRun]:
        """The runs whose groups the query can match."""
        run, question = self._query.run, self._query.question
        only = None if run is None else visible.run(self._connections[run.ledger], run, self._viewer)
        if question is not None:
            if run is not None and run.ledger != question.ledger:
                raise no_such(question)
            of = visible.run_of(self._connections[question.ledger], "questions", question, self._viewer)
            if only not in (None, of):
                raise no_such(question)
            only = of
        if only is not None:
            return [only]
        return [
            run
            for index, connection in self._connections.items()
            for run in visible.runs(connection, index, self._viewer)
        ]
