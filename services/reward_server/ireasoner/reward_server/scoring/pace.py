"""How long work may keep the event loop to itself."""

import asyncio
import time

TURN_S = 0.005


class Pace:
    """Lets others have the event loop whenever the work that holds this has had it for TURN_S.

    The work says `if pace.is_due: await pace.rest()` wherever it can be interrupted.
    """

    def __init__(self) -> None:
        self._until_s = time.monotonic() + TURN_S

    @property
    def is_due(self) -> bool:
        """Whether it is the others' turn."""
        return time.monotonic() >= self._until_s

    async def rest(self) -> None:
        """Comes back when everybody who was ready to go on has had a turn."""
        await asyncio.sleep(0)
        self._until_s = time.monotonic() + TURN_S
