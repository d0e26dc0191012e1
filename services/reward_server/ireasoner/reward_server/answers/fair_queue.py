"""Who may use something next that one caller at a time may use."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count


class FairQueue:
    """Gives the next turn to the caller who has used the least so far, among equals to the one who waits longest.

    A caller who needs little does not wait for one who needs much, but for the turn that is being taken.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self._taken = False

    @asynccontextmanager
    async def take(self, used: float) -> AsyncIterator[None]:
        """One turn of a caller who has used `used` so far, in any unit."""
        if self._taken:
            mine = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (used, next(self._arrivals), mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()  # it came at the moment of the cancellation
                raise
        self._taken = True
        try:
            yield
        finally:
            # Its caller may ask for the next turn at once, and then takes part in the choice.
            asyncio.get_running_loop().call_soon(self._pass_on)

    def _pass_on(self) -> None:
        self._taken = False
        while self._waiting:
            _, _, next_one = heapq.heappop(self._waiting)
            if not next_one.done():
                self._taken = True
                next_one.set_result(None)
                return
