"""Calls to the ledgers, each in a thread, so that the event loop goes on."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from ireasoner.reward_server.errors import LedgerUnreadable, NoLedger
from ireasoner.reward_server.ledger.ledgers import Ledgers
from ireasoner.reward_server.ledger.schema import LedgerUnusable

log = logging.getLogger(__name__)

THREADS = 2
"""Calls that read at the same time; SQLite lets the event loop go on while it works."""

P = ParamSpec("P")
T = TypeVar("T")


class Reads:
    """Reads the ledgers in threads of its own; raises NoLedger if there are none."""

    def __init__(self, ledgers: Ledgers | None) -> None:
        self._ledgers = ledgers
        self._threads = ThreadPoolExecutor(THREADS, "ledger reads")

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
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except (sqlite3.Error, LedgerUnusable) as error:
            log.error("reading the ledger failed: %s", error)  # noqa: TRY400 - the message says it all
            raise LedgerUnreadable("the server's log says why", retry_after_s=1) from error

    def close(self) -> None:
        """Ends the threads and closes the files."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._ledgers is not None:
            self._ledgers.close()
