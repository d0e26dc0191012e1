"""Who may use something next that one caller at a time may use."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager

from ireasoner.reward_server.fair_shares import FairShares


class FairQueue:
    """Gives turns to callers by `FairShares`.

    A caller who needs little does not wait for one who needs much, but for the turn that is being taken.
    """

    def __init__(self) -> None:
        self._shares: FairShares[Hashable] = FairShares()
        self._waiting: dict[Hashable, list[asyncio.Future[None]]] = {}
        self._taken = False

    @contextmanager
    def visit(self, caller: Hashable, used: float) -> Iterator[None]:
        """Within the block the caller can take turns; it has used `used` so far, in any unit."""
        self._shares.enter(caller, used)
        try:
            yield
        finally:
            self._shares.leave(caller)

    @asynccontextmanager
    async def take(self, caller: Hashable) -> AsyncIterator[None]:
        """One turn of a caller."""
        if self._taken:
            mine = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(caller, []).append(mine)
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()  # it came at the moment of the cancellation
                raise
        else:
            self._shares.turns((caller,))
        self._taken = True
        try:
            yield
        finally:
            # Its caller may ask for the next turn at once, and then takes part in the choice.
            asyncio.get_running_loop().call_soon(self._pass_on)

    def charge(self, caller: Hashable, amount: float) -> None:
        """Adds what the caller used in its turn."""
        self._shares.charge(caller, amount)

    def _pass_on(self) -> None:
        self._taken = False
        self._waiting = {
            caller: left
            for caller, turns in self._waiting.items()
            if (left := [turn for turn in turns if not turn.done()])
        }
        if self._waiting:
            self._taken = True
            caller = self._shares.turns(self._waiting)[0]
            self._waiting[caller].pop(0).set_result(None)
