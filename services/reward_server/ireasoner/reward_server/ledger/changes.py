"""What was added to the ledgers, found by asking SQLite every second: one poller for all who listen."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

from ireasoner.reward_server.errors import Overloaded, ServiceError
from ireasoner.reward_server.ledger import visible
from ireasoner.reward_server.ledger.ledgers import Ledger, Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.reads import Reads

log = logging.getLogger(__name__)

POLL_S = 1.0
QUIET_S = 15.0
"""Seconds without a change after which a listener gets None, so that both sides notice a broken connection."""
MAX_LISTENERS = 64
"""Of all experiments; one of them may have no more than it leaves free, so that each gets some."""
WAITING = 256
"""Changes that wait for a slow listener; the oldest are dropped, since each names all that came before it."""
COUNTED = 20_000
"""New groups that are counted one by one; of more, the rest are counted at the next poll."""


@dataclass(frozen=True, slots=True)
class Change:
    """New groups of a run."""

    run: RecordId
    experiment: str
    last_group: RecordId
    groups: int


class Watch:
    """The last group of each ledger that was seen."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def changes(self, ledgers: Ledgers) -> list[Change]:
        """What was added since the last call; nothing at the first."""
        return [change for ledger in ledgers for change in self._of(ledger)]

    def _of(self, ledger: Ledger) -> list[Change]:
        with ledger.reading() as connection:
            [newest] = connection.execute("SELECT coalesce(max(id), 0) FROM groups").fetchone()
            seen = self._seen.setdefault(ledger.index, newest)
            until = min(newest, seen + COUNTED)
            self._seen[ledger.index] = until
            if until <= seen:
                return []
            found = connection.execute(
                "SELECT run_id, experiment, max(groups.id), count(*) FROM groups JOIN runs ON runs.id = run_id "
                "WHERE groups.id > ? AND groups.id <= ? GROUP BY run_id",
                (seen, until),
            )
            return [
                Change(RecordId(ledger.index, run), experiment, RecordId(ledger.index, last), count)
                for run, experiment, last, count in found
            ]


class Changes:
    """Announces new groups to listeners; polls while there is one."""

    def __init__(self, reads: Reads, is_ending: Callable[[], bool]) -> None:
        self._reads = reads
        self._is_ending = is_ending
        self._listeners: dict[asyncio.Queue[Change | None], tuple[Viewer, RecordId | None]] = {}
        self._polling: asyncio.Task[None] | None = None

    async def listen(self, viewer: Viewer, run: RecordId | None) -> AsyncIterator[Change | None]:
        """The changes that the viewer may see, of one run or of all; None where nothing happens for a while.

        They end when the server does.

        Raises:
            NoSuchRecord: The viewer may not see the run, or it does not exist.
            Overloaded: There are as many listeners as there may be, of the viewer's experiment or of all.
        """
        await self._reads.run(_check, viewer, run)
        free = MAX_LISTENERS - len(self._listeners)
        own = sum(each.experiment == viewer.experiment for each, _ in self._listeners.values())
        if free <= 0 or (viewer.experiment is not None and own >= free):
            raise Overloaded(f"{own} callers of {MAX_LISTENERS - free} listen already", retry_after_s=15)
        return self._listen(viewer, run)

    async def _listen(self, viewer: Viewer, run: RecordId | None) -> AsyncIterator[Change | None]:
        queue: asyncio.Queue[Change | None] = asyncio.Queue(WAITING)
        self._listeners[queue] = (viewer, run)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(), name="ledger changes")
        try:
            yield None
            while not self._is_ending():
                try:
                    change = await asyncio.wait_for(queue.get(), QUIET_S)
                except TimeoutError:
                    yield None
                    continue
                if change is None:
                    return
                yield change
        finally:
            del self._listeners[queue]

    async def close(self) -> None:
        """Ends all listeners."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])

    async def _poll(self) -> None:
        watch = Watch()
        try:
            while self._listeners and not self._is_ending():
                try:
                    for change in await self._reads.run(watch.changes):
                        self._tell(change)
                except ServiceError as error:
                    log.warning("looking for new groups failed: %s", error)
                await asyncio.sleep(POLL_S)
        finally:
            for queue in self._listeners:
                _put(queue, None)

    def _tell(self, change: Change) -> None:
        for queue, (viewer, run) in self._listeners.items():
            if viewer.sees(change.experiment) and run in (None, change.run):
                _put(queue, change)


def _check(ledgers: Ledgers, viewer: Viewer, run: RecordId | None) -> None:
    """Raises NoSuchRecord for a run that the viewer may not see."""
    if run is not None:
        with ledgers.of(run).reading() as connection:
            visible.run(connection, run, viewer)


def _put(queue: "asyncio.Queue[Change | None]", change: Change | None) -> None:
    if queue.full():
        with suppress(asyncio.QueueEmpty):
            queue.get_nowait()
    queue.put_nowait(change)
