"""The groups of one run in a query's order: read in the order of an index, or, where few are left, sorted here."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson

from ireasoner.reward_server.ledger.cursor import Position
from ireasoner.reward_server.ledger.group_query import Condition, GroupQuery, Parameters
from ireasoner.reward_server.ledger.schema import SORT_INDEXES

FIRST_CHUNK, LARGEST_CHUNK = 16, 1_024
"""Rows that are read at once in the order of an index: few at first, since pages are short and runs can be many."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A group that was looked at.

    Attributes:
        position: Where it is in the order.
        matches: Whether it meets the query's conditions. Of those that do not, only the last of a chunk is listed.
        rows: How many groups were looked at since the last one that is listed.
    """

    position: Position
    matches: bool
    rows: int


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
        can_match: Whether a group, given by its row, can match.
    """

    connection: sqlite3.Connection
    ledger: int
    run: int
    query: GroupQuery
    after: Position | None
    few: int
    candidates: Sequence[int] | None
    can_match: Callable[[int], bool]

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
            if each.index is not None and each.index != SORT_INDEXES[self.query.sort]:
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
        behind = " OR ".join(f"({each.sql})" for each in self._behind())
        parameters = [value for each in self._behind() for value in each.parameters]
        found = self.connection.execute(
            f"SELECT {sort}, id FROM groups {found_by} WHERE {where} AND ({behind})",
            (*values, *parameters),
        )
        positions = [Position(value, self.ledger, row) for value, row in found]
        for position in sorted(positions, reverse=self.query.is_descending):
            yield Examined(position, self.can_match(position.row), 1)

    def _walked(self, conditions: Sequence[Condition]) -> Iterator[Examined]:
        """The run's groups in the order of the sort's index, each with whether it meets the conditions."""
        chunk, walk = FIRST_CHUNK, self
        while True:
            found = walk._chunk(conditions, chunk)
            rows = 0
            for position, is_match in found:
                rows += 1
                if is_match and self.can_match(position.row):
                    yield Examined(position, True, rows)
                    rows = 0
            if rows:
                yield Examined(found[-1][0], False, rows)
            if len(found) < chunk:
                return
            walk = replace(self, after=found[-1][0])
            chunk = min(2 * chunk, LARGEST_CHUNK)

    def _chunk(self, conditions: Sequence[Condition], count: int) -> list[tuple[Position, bool]]:
        """The next `count` groups in the order of the sort's index, each with whether it meets the conditions."""
        sort, order = self.query.sort, self.query.order
        matches = " AND ".join(each.sql for each in conditions) or "1"
        checked = [value for each in conditions for value in each.parameters]
        found: list[tuple[Position, bool]] = []
        for behind in self._behind(self._ends(conditions)):
            rows = self.connection.execute(
                f"SELECT {sort}, id, {matches} FROM groups INDEXED BY {SORT_INDEXES[sort]} WHERE run_id = ? "
                f"AND {behind.sql} ORDER BY {sort} {order}, id {order} LIMIT ?",
                (*checked, self.run, *behind.parameters, count - len(found)),
            )
            found += [(Position(value, self.ledger, row), bool(is_match)) for value, row, is_match in rows]
        return found

    def _ends(self, conditions: Sequence[Condition]) -> list[Condition]:
        """The conditions that set an end to the sort's own index; behind a position, only the end that lies ahead."""
        ahead = "least" if self.query.is_descending else "most"
        own = [each for each in conditions if each.end and each.index == SORT_INDEXES[self.query.sort]]
        return own if self.after is None else [each for each in own if each.end == ahead]

    def _behind(self, ends: Sequence[Condition] = ()) -> list[Condition]:
        """Where the groups are that come after the position, in order: with its value, and behind that up to the ends.

        An index finds each of the two at once. It would scan all groups with the value for `(value, id) < (?, ?)`, and
        all from one end to the position if that end were a condition, too.
        """
        sort, sign = self.query.sort, "<" if self.query.is_descending else ">"
        if self.after is None:
            return [_all_of(ends) if ends else Condition(f"{sort} IS NOT NULL")]
        value, ledger, row = self.after
        beyond = _all_of([Condition(f"{sort} {sign} ?", (value,)), *ends])
        if ledger == self.ledger:
            return [Condition(f"{sort} = ? AND id {sign} ?", (value, row)), beyond]
        is_later = (self.ledger < ledger) == self.query.is_descending
        return [_all_of([Condition(f"{sort} {sign}= ?", (value,)), *ends])] if is_later else [beyond]


def _all_of(conditions: Sequence[Condition]) -> Condition:
    return Condition(
        " AND ".join(each.sql for each in conditions),
        tuple(value for each in conditions for value in each.parameters),
    )
