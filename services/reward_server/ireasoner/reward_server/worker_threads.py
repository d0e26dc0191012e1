"""Threads for work that would hold up the event loop: few at once, and the end of the process waits for none."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from ireasoner.reward_server.memory import Claim

T = TypeVar("T")


class WorkerThreads:
    """Does work in threads of one event loop, at most `most` at once; what comes later waits for its turn.

    Python joins the threads of a `ThreadPoolExecutor` when the process ends, however long they work. These are daemons.
    """

    def __init__(self, most: int, name: str) -> None:
        self._free = asyncio.Semaphore(most)
        self._name = name

    async def run(self, work: Callable[[], T], claim: Claim) -> T:
        """The result of `work`; what the claim holds counts until the thread has ended, even if the caller is gone."""
        done = await self.begin(work)
        claim.keep_until(done)
        return await asyncio.shield(done)

    async def begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Waits for a thread, in which `work` begins; the future is done once the thread has ended.

        Nothing stops a thread, so a caller that may be cancelled waits for `asyncio.shield` of the future.
        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        done.add_done_callback(lambda _: self._free.release())

        def tell(end: Callable[[Any], None], outcome: Any) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(end, outcome)

        def do() -> None:
            try:
                result = work()
            except StopIteration as error:  # no future takes it
                tell(done.set_exception, RuntimeError(f"{type(error).__name__}: {error}"))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                tell(done.set_exception, error)
            else:
                tell(done.set_result, result)

        try:
            threading.Thread(target=do, name=self._name, daemon=True).start()
        except RuntimeError as error:  # there are too many threads
            done.set_exception(error)
        return done
