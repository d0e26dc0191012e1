"""A call that reads the ledgers in a thread, and that another thread can end."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

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
        """Ends the statements that run now, which then raise sqlite3.OperationalError, and begins to use no connection.

        A call has several statements, and one that begins just after this is not ended: call it until the thread ends.
        """
        with self._lock:
            self._is_ending = True
            for connection in self._connections:
                connection.interrupt()

    @contextmanager
    def using(self, connection: sqlite3.Connection) -> Iterator[None]:
        """Has `interrupt` reach the connection; raises sqlite3.OperationalError if the call has to end."""
        with self._lock:
            if self._is_ending:
                raise sqlite3.OperationalError("interrupted")
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)


@contextmanager
def interruptible(connection: sqlite3.Connection) -> Iterator[None]:
    """Lets the end of the running call, if there is one, interrupt what the connection does in the block."""
    call = _RUNNING.get()
    if call is None:
        yield
        return
    with call.using(connection):
        yield
