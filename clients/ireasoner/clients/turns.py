"""Turns at a server's connections, which end for all that wait once the server answers nobody."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ireasoner.clients.errors import RewardError, TimedOut


class Turns:
    """Lets `count` calls of one event loop proceed at a time, in the order in which they came.

    The time of a call runs from its arrival, or from the last answer to any call if that is later: waiting behind
    calls that are answered costs nothing, and waiting behind calls that are not costs the call's own budget. A turn
    that comes after more than the budget (or one time-out, if that is longer) is refused. Each turn ends within what
    is left of its budget and one time-out, so the wait for a turn has a deadline, too.

    Args:
        url: The server's address.
        count: Turns at a time.
        budget_s: Seconds in which the attempts of a call may start.
        timeout_s: Seconds for one attempt.
    """

    def __init__(self, url: str, count: int, budget_s: float, timeout_s: float) -> None:
        self._url = url
        self._budget_s = budget_s
        self._patience_s = max(budget_s, timeout_s)
        self._free = asyncio.Semaphore(count)
        self._answered_s = -math.inf
        self._last_error = "none"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """One turn; yields the seconds left of the call's budget. Raises TimedOut if the turn came too late."""
        start_s = time.monotonic()
        async with self._free:
            waited_s = time.monotonic() - max(start_s, self._answered_s)
            if waited_s > self._patience_s:
                raise TimedOut(
                    f"{self._url}: no call was answered for {waited_s:.0f} s, in which this one waited for its turn; "
                    f"the last error: {self._last_error}"
                )
            try:
                yield max(0.0, self._budget_s - waited_s)
            except RewardError as error:
                self._heard(error)
                raise
            self._heard(None)

    def _heard(self, error: RewardError | None) -> None:
        """A call ended: it was answered unless its error is one that may pass."""
        if error is not None and error.retryable:
            self._last_error = str(error)
        else:
            self._answered_s = time.monotonic()
