"""Reads images in a thread, one at a time; even the head of one can take a second to parse."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ireasoner.reward_server.errors import Overloaded
from ireasoner.reward_server.memory import Claim
from ireasoner.reward_server.worker_threads import WorkerThreads

WAIT_DEADLINE_S = 30.0
"""Longest wait for the images before and for this one."""

T = TypeVar("T")


class Decoding:
    """Reads images, while the event loop goes on and what they take is counted."""

    def __init__(self, name: str) -> None:
        self._thread = WorkerThreads(1, name)

    async def run(self, read: Callable[[], T], claim: Claim) -> T:
        """The result of `read`; raises Overloaded if it takes too long, and then it holds its claim until it ends."""
        try:
            async with asyncio.timeout(WAIT_DEADLINE_S) as deadline:
                return await self._thread.run(read, claim)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise Overloaded(
                f"the image could not be decoded within {WAIT_DEADLINE_S:g} s; others are before it",
                retry_after_s=5,
            ) from None
