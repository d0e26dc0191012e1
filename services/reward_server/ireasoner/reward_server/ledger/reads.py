"""Calls to the ledgers, each in a thread, so that the event loop goes on."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from ireasoner.reward_server.errors import DeadlineExceeded, LedgerUnreadable, NoLedger, NotReady
from ireasoner.reward_server.ledger.ledgers import Ledgers
from ireasoner.reward_server.ledger.read_call import ReadCall
from ireasoner.reward_server.ledger.schema import LedgerUnusable
from ireasoner.reward_server.worker_threads import WorkerThreads

log = logging.getLogger(__name__)

THREADS = 2
"""Calls that read at the same time; SQLite lets the event loop go on while it works."""
DEADLINE_S = 20.0
"""Longest call, with its wait for a thread; a page of a ledger with half a million rollouts takes less than 0.2 s."""
CLOSE_DEADLINE_S = 5.0
INTERRUPT_EVERY_S = 0.01

P = ParamSpec("P")
T = TypeVar("T")


class Reads:
    """Reads the ledgers in threads of its own; raises NoLedger if there are none."""

    def __init__(self, ledgers: Ledgers | None) -> None:
        self._ledgers = ledgers
        self._threads = WorkerThreads(THREADS, "ledger reads")
        self._running: dict[asyncio.Future[Any], ReadCall] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def run(
        self, read: Callable[Concatenate[Ledgers, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `read(ledgers, ...)`. If the caller does not wait for it, SQLite is interrupted.

        Raises:
            NoLedger: The server keeps none.
            LedgerUnreadable: SQLite failed.
            DeadlineExceeded: It took longer than `DEADLINE_S`.
            NotReady: The server is ending.
        """
        if self._ledgers is None:
            raise NoLedger("this server keeps no ledger; its operator can turn it on with --ledger")
        try:
            async with asyncio.timeout(DEADLINE_S) as deadline:
                return await self._in_thread(partial(read, self._ledgers, *args, **kwargs))
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceeded(
                f"the ledger could not be read within {DEADLINE_S:g} s", retry_after_s=5
            ) from None
        except (sqlite3.Error, LedgerUnusable) as error:
            self._check_open()
            log.error("reading the ledger failed: %s", error)  # noqa: TRY400 - the message says it all
            raise LedgerUnreadable("the server's log says why", retry_after_s=1) from error

    async def _in_thread(self, read: Callable[[], T]) -> T:
        call = ReadCall()

        def begin() -> T:
            self._check_open()
            return call.run(read)

        running = await self._threads.begin(begin)
        self._running[running] = call
        running.add_done_callback(self._running.pop)
        try:
            return await asyncio.shield(running)
        finally:
            if not running.done():
                ending = asyncio.create_task(_end(call, running), name="ending a read")
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    def _check_open(self) -> None:
        if self._is_closed:
            raise NotReady("the server is shutting down", retry_after_s=1)

    async def close(self) -> None:
        """Interrupts what is read, and closes the files; a thread that does not end is left alone."""
        self._is_closed = True
        if self._ledgers is None:
            return
        if self._running:
            ends = [asyncio.create_task(_end(call, running)) for running, call in self._running.items()]
            _, late = await asyncio.wait(ends, timeout=CLOSE_DEADLINE_S)
            for each in [*late, *self._ending]:
                each.cancel()
            if late:
                log.warning("%d reads of the ledger have not ended", len(late))
        self._ledgers.close()


async def _end(call: ReadCall, running: asyncio.Future[Any]) -> None:
    """Interrupts a call until its thread has ended."""
    while not running.done():
        call.interrupt()
        await asyncio.sleep(INTERRUPT_EVERY_S)
