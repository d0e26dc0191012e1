"""Full-text search: a query is literal text, found anywhere in a question, an answer or a step, in any case.

Texts of three characters and more are found through the index of trigrams, which needs no words and so finds Chinese.
Its work grows with the length of the text and with the groups that it may look at, so both are bounded: of a long text
it looks for both ends, and what it finds is checked. Shorter texts, and those that most groups have,
are looked for in documents alone.
"""

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from ireasoner.reward_server.ledger.insert import run_mark
from ireasoner.reward_server.ledger.record import texts, unpacked

MAX_CHARACTERS = 256
"""Longest query."""
TRIGRAM = 3
PHRASE = 16
"""Characters of a phrase that the index looks for: its work grows with the length."""
BLOCK = 2_048
"""Groups that are searched together, by id."""
WINDOW = 32 * BLOCK
"""The newest groups of a ledger, by id, among which all matches are found."""
FEW = 2 * BLOCK
"""Matches among them that are sorted; if there are more, groups are checked in the order of the sort."""
BLOCK_COST, CHECK_COST = 300, 50
"""The work of searching a block and of checking a document, in units of reading a row."""
MARKS = 64
"""Runs that the index tells apart in one query; of more, it searches all."""


@dataclass(frozen=True, slots=True)
class SearchText:
    """What to look for; white space at its ends is not part of it."""

    text: str

    @property
    def wanted(self) -> str:
        """The text that a group must have; NUL, which SQLite's tokenizer ends at, is a space."""
        return self.text.replace("\0", " ").strip()

    @property
    def is_empty(self) -> bool:
        """Whether every group matches."""
        return not self.wanted

    def query(self, runs: Sequence[int] | None) -> str:
        """The query of FTS5 for groups of these runs, or of all, that have both ends of the text."""
        ends = dict.fromkeys((self.wanted[:PHRASE], self.wanted[-PHRASE:]))
        phrases = [f"{{question answers steps}} : {_quoted(end)}" for end in ends]
        if runs is not None and len(runs) <= MARKS:
            marks = " OR ".join(_quoted(run_mark(run)) for run in runs)
            phrases.insert(0, f"run : ({marks})")
        return " AND ".join(phrases)

    def is_in(self, document: bytes) -> bool:
        """Whether a stored document has this text in its question, an answer or a step."""
        if self._is_plain and self.wanted.lower().encode() not in zlib.decompress(document).lower():
            return False
        group = unpacked(document)
        found = texts(group["group"], group["scored"])
        wanted = self.wanted.lower()
        return any(wanted in text.lower() for text in (found.question, found.answers, found.steps))

    @property
    def _is_plain(self) -> bool:
        """Whether a document that has the text has its bytes, in one case or the other: JSON escapes no character."""
        return (
            len(self.wanted) < TRIGRAM
            and all(
                character.isascii() or character.lower() == character.upper() for character in self.wanted
            )
            and self.wanted.isprintable()
            and not set(self.wanted) & set('"\\')
        )


EVERYTHING = SearchText("")
"""Leaves no group out."""


def _quoted(phrase: str) -> str:
    doubled = phrase.replace('"', '""')
    return f'"{doubled}"'


class TextMatches:
    """Which groups of one ledger have a text.

    Args:
        connection: To the ledger.
        text: What to look for.
        runs: The runs whose groups are asked about; None for all.
        by_time: Whether the groups are asked about in the order of their arrival.
    """

    def __init__(
        self, connection: sqlite3.Connection, text: SearchText, runs: Sequence[int] | None, *, by_time: bool
    ) -> None:
        self._connection = connection
        self._text = text
        self._is_everything = text.is_empty or runs == []
        self._is_indexed = len(text.wanted) >= TRIGRAM
        self._query = "" if self._is_everything else text.query(runs)
        self._blocks: dict[int, frozenset[int]] = {}
        self.cost = 0
        """The work so far, in units of reading a row."""
        self.candidates: Sequence[int] | None = None
        """All groups that can have the text; None if there are many, or they were not counted."""
        self.is_partial = False
        """Whether older groups are not searched."""
        if self._is_indexed and not self._is_everything:
            self._search_newest(by_time)

    def _search_newest(self, by_time: bool) -> None:
        """Finds all matches in the window, if they are few.

        In the order of time, groups before the window are searched as they come; in any other order they are not.
        """
        oldest, newest = self._connection.execute(
            "SELECT coalesce((SELECT min(id) FROM groups), 0), coalesce((SELECT max(id) FROM groups), 0)"
        ).fetchone()
        is_all = oldest > newest - WINDOW
        if by_time and not is_all:
            return
        found = self._rows(newest - WINDOW + 1, newest, FEW + 1)
        if len(found) <= FEW:
            self.candidates = found
            self.is_partial = not is_all
        elif not by_time:
            self._is_indexed = False

    def can_have(self, row: int) -> bool:
        """Whether a group can have the text, as far as the index knows."""
        if self._is_everything or self.candidates is not None or not self._is_indexed:
            return True
        return row in self._block(row // BLOCK)

    def __contains__(self, row: int) -> bool:
        """Whether a group that can have the text does."""
        if self._is_everything or (self._is_indexed and len(self._text.wanted) <= PHRASE):
            return True
        return self._is_checked(row)

    def _block(self, number: int) -> frozenset[int]:
        if number not in self._blocks:
            self.cost += BLOCK_COST
            self._blocks[number] = frozenset(self._rows(BLOCK * number, BLOCK * (number + 1) - 1, BLOCK))
        return self._blocks[number]

    def _rows(self, first: int, last: int, count: int) -> list[int]:
        """The newest `count` groups between two ids that the index finds."""
        found = self._connection.execute(
            "SELECT rowid FROM texts WHERE texts MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid DESC LIMIT ?",
            (self._query, first, last, count),
        )
        return list(chain.from_iterable(found))

    def _is_checked(self, row: int) -> bool:
        self.cost += CHECK_COST
        found = self._connection.execute(
            "SELECT document FROM documents WHERE group_id = ?", (row,)
        ).fetchone()
        return found is not None and self._text.is_in(found["document"])
