"""The one retry loop: which errors are retried, after how long, and until when."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0

_REPORTED_DELAY_S = 1.0
_ALIVE_POLL_S = 0.5
_JITTER = random.SystemRandom()  # leaves the caller's seeded generators alone

T = TypeVar("T")


class Retry:
    """The retries of one call: exponential delays with full jitter, within a budget that starts now.

    An error is retried if it has an attribute `retryable` that is true, even if the server may have done its work:
    only calls that can safely be repeated belong here. An attribute `retry_after_s` (the server's `Retry-After`) is
    the shortest delay. The last try starts when the budget ends.

    Args:
        budget_s: Seconds in which a new try may start; 0 allows one try only.
        longest_delay_s: Upper bound of the delay, before `retry_after_s` is added.
        is_alive: Whether the server can still answer; false ends the retries within half a second.
        on_wait: Called before each delay that may exceed one second, with the error and the seconds left.
    """

    def __init__(
        self,
        budget_s: float,
        *,
        longest_delay_s: float = LONGEST_DELAY_S,
        is_alive: Callable[[], bool] = lambda: True,
        on_wait: Callable[[Exception, float], None] | None = None,
    ) -> None:
        self._end_s = time.monotonic() + budget_s
        self._longest_delay_s = longest_delay_s
        self._delay_bound_s = FIRST_DELAY_S
        self._is_alive = is_alive
        self._on_wait = on_wait

    def call(self, attempt: Callable[[], T]) -> T:
        """Returns what `attempt` returns, and calls it again after errors that may pass.

        Raises:
            Exception: What the last try raised, if it cannot be retried or the budget is spent.
        """
        while True:
            try:
                return attempt()
            except Exception as error:  # noqa: BLE001  delay_s raises all but what can be retried
                self._sleep(self.delay_s(error))

    async def call_async(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Does the same as `call` on an event loop; `is_alive` is read before each delay only."""
        while True:
            try:
                return await attempt()
            except Exception as error:  # noqa: BLE001  delay_s raises all but what can be retried
                await asyncio.sleep(self.delay_s(error))

    def delay_s(self, error: Exception) -> float:
        """Seconds to wait before the next try; raises `error` if there is none."""
        left_s = max(0.0, self._end_s - time.monotonic())
        server_delay_s: float = getattr(error, "retry_after_s", None) or 0.0
        retryable = getattr(error, "retryable", False)
        if not retryable or not left_s or server_delay_s > left_s or not self._is_alive():
            raise error
        if self._on_wait is not None and server_delay_s + self._delay_bound_s > _REPORTED_DELAY_S:
            self._on_wait(error, left_s)
        delay_s = server_delay_s + _JITTER.uniform(0, self._delay_bound_s)
        self._delay_bound_s = min(2 * self._delay_bound_s, self._longest_delay_s)
        return min(delay_s, left_s)

    def _sleep(self, delay_s: float) -> None:
        end_s = time.monotonic() + delay_s
        while (left_s := end_s - time.monotonic()) > 0 and self._is_alive():
            time.sleep(min(left_s, _ALIVE_POLL_S))
