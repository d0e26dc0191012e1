"""The groups of one run in a query's order: read in the order of an index, or, where few are left, sorted here."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from ireasoner.reward_server.ledger.cursor import Position
from ireasoner.reward_server.ledger.group_query import INDEXES, Condition, GroupQuery, Parameters

FIRST_CHUNK, LARGEST_CHUNK = 16, 1_024
"""Rows that are read at once in the order of an index: few at first, since pages are short and runs can be many."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A group that was looked at, where it is in the order, and whether it meets the query's conditions."""

    position: Position
    matches: bool


@dataclass(frozen=True, slots=True)
class RunGroups:
    """The groups of one run, in order.

    Attributes:
        connection: To the ledger.
        ledger: Its index.
        run: The run's row.
        query: The conditions and the order.
        after: Position from behind which they are listed; None from the start.
        few: Groups that are sorted here, if a filter's index leaves no more.
        candidates: The only groups that can match; None if that is not known.
    """

    connection: sqlite3.Connection
    ledger: int
    run: int
    query: GroupQuery
    after: Position | None
    few: int
    candidates: Sequence[int] | None = None

    def examined(self) -> Iterator[Examined]:
        """Every group that has to be looked at."""
        conditions = list(self.query.conditions(self.run))
        if self.candidates is not None:
            rows = orjson.dumps(list(self.candidates)).decode()
            among = Condition("id IN (SELECT value FROM json_each(?))", (rows,))
            return self._sorted("NOT INDEXED", [among, *conditions])
        if (index := self._narrowest(conditions)) is not None:
            return self._sorted(f"INDEXED BY {index}", conditions)
        return self._walked(conditions)

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
        where, parameters = self._where(conditions)
        counted = f"SELECT count(*) FROM (SELECT 1 FROM groups INDEXED BY {index} WHERE {where} LIMIT ?)"
        return int(self.connection.execute(counted, (*parameters, self.few + 1)).fetchone()[0])

    def _where(self, conditions: Sequence[Condition]) -> tuple[str, Parameters]:
        """The run and the conditions in SQL."""
        sql = " AND ".join(["run_id = ?", *(each.sql for each in conditions)])
        return sql, (self.run, *(value for each in conditions for value in each.parameters))

    def _sorted(self, found_by: str, conditions: Sequence[Condition]) -> Iterator[Examined]:
        """The groups that meet the conditions."""
        sort = self.query.sort
        where, values = self._where(conditions)
        behind, parameters = self._behind()
        found = self.connection.execute(
            f"SELECT {sort}, id FROM groups {found_by} WHERE {where} AND {sort} IS NOT NULL AND {behind}",
            (*values, *parameters),
        )
        positions = [Position(value, self.ledger, row) for value, row in found]
        for position in sorted(positions, reverse=self.query.is_descending):
            yield Examined(position, True)

    def _walked(self, conditions: Sequence[Condition]) -> Iterator[Examined]:
        """The run's groups in the order of the sort's index, each with whether it meets the conditions."""
        chunk, walk = FIRST_CHUNK, self
        while True:
            found = walk._chunk(conditions, chunk)
            yield from found
            if len(found) < chunk:
                return
            walk = replace(self, after=found[-1].position)
            chunk = min(2 * chunk, LARGEST_CHUNK)

    def _chunk(self, conditions: Sequence[Condition], count: int) -> list[Examined]:
        """The next `count` groups in the order of the sort's index."""
        sort, order = self.query.sort, self.query.order
        matches = " AND ".join(each.sql for each in conditions) or "1"
        checked = [value for each in conditions for value in each.parameters]
        behind, parameters = self._behind()
        found = self.connection.execute(
            f"SELECT {sort}, id, {matches} FROM groups INDEXED BY {INDEXES[sort]} "
            f"WHERE run_id = ? AND {sort} IS NOT NULL AND {behind} ORDER BY {sort} {order}, id {order} LIMIT ?",
            (*checked, self.run, *parameters, count),
        )
        return [Examined(Position(value, self.ledger, row), bool(is_match)) for value, row, is_match in found]

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
