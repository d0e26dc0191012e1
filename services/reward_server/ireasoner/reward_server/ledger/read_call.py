"""A call that reads the ledgers in a thread, and that another thread can end."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

_RUNNING: ContextVar["ReadCall | None"] = ContextVar("running", default=None)


class ReadCall:
    """One call; it knows the connections that it is using."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: set[sqlite3.Connection] = set()
        self._is_ending = False

    def run(self, read: Callable[[], T]) -> T:
        """The result of `read`, in the thread of the call."""
        token = _RUNNING.set(self)
        try:
            return read()
        finally:
            _RUNNING.reset(token)

    def interrupt(self) -> None:
        """Ends the statements that run now, which then raise sqlite3.OperationalError, and lets none begin.

        One that begins at this very moment may be missed: call it until the thread ends.
        """
        with self._lock:
            self._is_ending = True
            for connection in self._connections:
                connection.interrupt()

    def check(self) -> None:
        """Raises sqlite3.OperationalError if the call has to end."""
        if self._is_ending:
            raise sqlite3.OperationalError("interrupted")

    @contextmanager
    def using(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Has `interrupt` reach the connection; raises sqlite3.OperationalError if the call has to end."""
        with self._lock:
            self.check()
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)


class ReadConnection(sqlite3.Connection):
    """A connection that begins no statement for a call that has to end, however short its statements are.

    SQLite's progress handler could do the same, but would wait for Python's lock in the middle of every statement.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As sqlite3 does; raises sqlite3.OperationalError if the running call has to end."""
        call = _RUNNING.get()
        if call is not None:
            call.check()
        return super().execute(sql, parameters)


@contextmanager
def interruptible(connection: sqlite3.Connection) -> Iterator[None]:
    """Lets the end of the running call, if there is one, interrupt what the connection does in the block."""
    call = _RUNNING.get()
    if call is None:
        yield
        return
    with call.using(connection):
        yield
