"""Lets several reward functions of a framework share what one of them computes for a batch."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from ireasoner.clients.errors import for_other_callers

Result = TypeVar("Result")


class SharedBatches(Generic[Result]):
    """One result per batch for `readers` callers, on any threads or on one event loop.

    A batch is known by the object that holds it, which a framework gives to all of its reward functions. The first
    caller computes; if it fails, all raise its error, and if it is cancelled, the others raise RewardError. Another
    caller that is cancelled changes nothing for the rest. Pickling forgets the batches.
    """

    def __init__(self, readers: int) -> None:
        self._readers = readers
        self._batches: dict[int, tuple[object, Future[Result], int]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._readers,)

    def call(self, batch: object, compute: Callable[[], Result]) -> Result:
        """The result of `compute` for a batch."""
        result, is_first = self._join(batch)
        if is_first:
            try:
                result.set_result(compute())
            except BaseException as error:
                result.set_exception(for_other_callers(error))
                raise
        return result.result()

    async def call_async(self, batch: object, compute: Callable[[], Awaitable[Result]]) -> Result:
        """`call` on an event loop."""
        result, is_first = self._join(batch)
        if is_first:
            try:
                result.set_result(await compute())
            except BaseException as error:
                result.set_exception(for_other_callers(error))
                raise
        return await asyncio.wrap_future(result)

    def _join(self, batch: object) -> tuple[Future[Result], bool]:
        """The result, and whether this caller is to compute it. The last reader takes it away."""
        with self._lock:
            _, result, left = self._batches.get(id(batch), (batch, Future(), self._readers))
            if left > 1:
                self._batches[id(batch)] = (batch, result, left - 1)
            else:
                self._batches.pop(id(batch), None)
        is_first = left == self._readers
        if is_first:
            result.set_running_or_notify_cancel()  # from now on no reader can cancel it
        return result, is_first
