"""Full-text search: a query is literal text, found anywhere in a question, an answer or a step, in any case.

Texts of three characters and more are found through the index of trigrams, which needs no words and so finds Chinese.
Shorter ones are looked for in the documents themselves, of which a call reads a bounded number.
"""

import sqlite3
from dataclasses import dataclass

from ireasoner.reward_server.ledger.insert import run_mark
from ireasoner.reward_server.ledger.record import texts, unpacked

MAX_CHARACTERS = 256
"""Longest query."""
_TRIGRAM = 3


@dataclass(frozen=True, slots=True)
class SearchText:
    """What to look for; white space at its ends is not part of it."""

    text: str

    @property
    def is_empty(self) -> bool:
        """Whether every group matches."""
        return not self._wanted

    @property
    def is_indexed(self) -> bool:
        """Whether the index of trigrams finds it."""
        return len(self._wanted) >= _TRIGRAM

    @property
    def _wanted(self) -> str:
        return self.text.replace("\0", " ").strip()

    def of_run(self, run: int) -> str:
        """The query of FTS5 that matches the run's groups with this text."""
        quoted = self._wanted.replace('"', '""')
        return f'run : "{run_mark(run)}" AND {{question answers steps}} : "{quoted}"'

    def is_in(self, document: bytes | None) -> bool:
        """Whether a stored document has this text in its question, an answer or a step."""
        if document is None:
            return False
        group = unpacked(document)
        found = texts(group["group"], group["scored"])
        wanted = self._wanted.casefold()
        return any(wanted in text.casefold() for text in (found.question, found.answers, found.steps))

    def install(self, connection: sqlite3.Connection) -> None:
        """Makes `is_in` the SQL function `has_text(document)`."""
        connection.create_function("has_text", 1, self.is_in)


EVERYTHING = SearchText("")
"""Leaves no group out."""
