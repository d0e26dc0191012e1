"""Several ledgers read as one: the folders, their read-only connections, and the ids of what they hold."""

import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ireasoner.reward_server.errors import NoSuchRecord
from ireasoner.reward_server.ledger import schema
from ireasoner.reward_server.ledger.folders import ledger_folders
from ireasoner.reward_server.ledger.read_call import interruptible

MAX_IDLE = 4
"""Connections to one ledger that are kept open between calls."""
CACHE_KIB = 16_384
"""Pages of a ledger that a connection keeps in memory: groups in the order of a figure are all over the file."""
_ID = re.compile(r"(0|[1-9]\d{0,3})-([1-9]\d{0,17})", re.ASCII)


class RecordId(NamedTuple):
    """A row of one of the ledgers: the id of a run, a group or a question, written `0-17`."""

    ledger: int
    row: int

    def __str__(self) -> str:
        return f"{self.ledger}-{self.row}"

    @classmethod
    def parse(cls, text: str) -> "RecordId":
        """The id that `text` writes; raises NoSuchRecord if it writes none, as for an id that nothing has."""
        found = _ID.fullmatch(text)
        if found is None:
            raise no_such(text)
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who reads: an experiment, which sees its own runs alone, or None for an operator, who sees all."""

    experiment: str | None

    def sees(self, experiment: str) -> bool:
        """Whether the viewer may see what belongs to this experiment."""
        return self.experiment in (None, experiment)


def no_such(text: object) -> NoSuchRecord:
    """The error for an id that the viewer cannot see, whatever the reason."""
    return NoSuchRecord(f"{text}: no such record")


class Ledger:
    """One folder's ledger, read-only; any thread may read it."""

    def __init__(self, index: int, folder: Path) -> None:
        self.index = index
        self.folder = folder
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._file: tuple[int, int] | None = None
        self._uri = f"{(folder / schema.FILE).resolve().as_uri()}?mode=ro"
        self._is_made = False

    @property
    def exists(self) -> bool:
        """Whether the folder has a ledger by now: a server creates its own when it starts."""
        if not (self.folder / schema.FILE).is_file():
            return False
        if not self._is_made:
            with closing(sqlite3.connect(self._uri, uri=True, timeout=schema.BUSY_TIMEOUT_S)) as connection:
                [version] = connection.execute("PRAGMA user_version").fetchone()
            self._is_made = version != 0
        return self._is_made

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in a read transaction, so that all that is read is of one moment.

        Raises:
            LedgerUnusable: There is no ledger of this version, or it cannot be opened.
            sqlite3.Error: It cannot be read.
        """
        connection = self._take()
        try:
            with interruptible(connection):
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
        except BaseException:
            self._put(connection, is_whole=False)
            raise
        self._put(connection)

    def _take(self) -> sqlite3.Connection:
        status = (self.folder / schema.FILE).stat() if self.exists else None
        file = None if status is None else (status.st_dev, status.st_ino)
        with self._lock:
            if file != self._file:  # another file of the same name
                self._close_idle()
                self._file = file
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = schema.open_to_read(self.folder)
            connection.row_factory = sqlite3.Row
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    def _put(self, connection: sqlite3.Connection, *, is_whole: bool = True) -> None:
        """Takes a connection back, and closes it if it failed or there are enough."""
        with self._lock:
            if is_whole and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def close(self) -> None:
        """Closes the connections that no call uses."""
        with self._lock:
            self._close_idle()


class Ledgers:
    """The ledgers of several folders. A folder without a ledger of its own counts as the ledgers of its subfolders.

    A ledger keeps its index while the process runs; those of subfolders that appear later come last.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._known: dict[Path, Ledger] = {}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Ledger]:
        """Every ledger that exists now, by index."""
        with self._lock:
            for folder in self._folders:
                for each in ledger_folders(folder):
                    self._known.setdefault(each, Ledger(len(self._known), each))
            known = list(self._known.values())
        return (ledger for ledger in known if ledger.exists)

    def of(self, record: RecordId) -> Ledger:
        """The ledger that a record's id names; raises NoSuchRecord if there is none."""
        for ledger in self:
            if ledger.index == record.ledger:
                return ledger
        raise no_such(record)

    def close(self) -> None:
        """Closes all connections that no call uses."""
        for ledger in self._known.values():
            ledger.close()


def check_folders(folders: Sequence[Path]) -> None:
    """Raises LedgerUnusable for the first folder that has no ledger, or one that cannot be read."""
    for folder in folders:
        found = ledger_folders(folder)
        if not found:
            lack = "has no ledger, nor have its subfolders" if folder.is_dir() else "is not a folder"
            raise schema.LedgerUnusable(f"{folder} {lack}")
        for each in found:
            schema.open_to_read(each).close()
