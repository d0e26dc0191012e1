"""Calls to the ledgers, each in a thread, so that the event loop goes on."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from ireasoner.reward_server.errors import LedgerUnreadable, NoLedger
from ireasoner.reward_server.ledger.ledgers import Ledgers
from ireasoner.reward_server.ledger.schema import LedgerUnusable

log = logging.getLogger(__name__)

THREADS = 2
"""Calls that read at the same time; SQLite lets the event loop go on while it works."""

CLOSE_DEADLINE_S = 5.0
INTERRUPT_EVERY_S = 0.01

P = ParamSpec("P")
T = TypeVar("T")


class Reads:
    """Reads the ledgers in threads of its own; raises NoLedger if there are none."""

    def __init__(self, ledgers: Ledgers | None) -> None:
        self._ledgers = ledgers
        self._threads = ThreadPoolExecutor(THREADS, "ledger reads")
        self._calls: set[Future[Any]] = set()

    async def run(
        self, read: Callable[Concatenate[Ledgers, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `read(ledgers, ...)`.

        Raises:
            NoLedger: The server keeps none.
            LedgerUnreadable: SQLite failed.
        """
        if self._ledgers is None:
            raise NoLedger("this server keeps no ledger; its operator can turn it on with --ledger")
        call = partial(read, self._ledgers, *args, **kwargs)
        running = self._threads.submit(call)
        self._calls.add(running)
        running.add_done_callback(self._calls.discard)
        try:
            return await asyncio.wrap_future(running)
        except (sqlite3.Error, LedgerUnusable) as error:
            log.error("reading the ledger failed: %s", error)  # noqa: TRY400 - the message says it all
            raise LedgerUnreadable("the server's log says why", retry_after_s=1) from error

    async def close(self) -> None:
        """Interrupts what is read, ends the threads and closes the files."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._ledgers is None:
            return
        end_s = time.monotonic() + CLOSE_DEADLINE_S
        while self._calls and time.monotonic() < end_s:
            self._ledgers.interrupt()  # again and again: it ends one statement, and a call has several
            await asyncio.sleep(INTERRUPT_EVERY_S)
        if self._calls:
            log.warning("%d reads of the ledger have not ended", len(self._calls))
        self._ledgers.close()
