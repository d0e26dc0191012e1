"""Turns on the event loop: long work lets other tasks run, and long rollouts and large groups go to a thread."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from ireasoner.reward_server.memory import Claim
from ireasoner.reward_server.worker_threads import WorkerThreads

TURN_S = 0.005
LARGE = 4_096
"""Steps of a group from which its work is done in a thread: on the event loop it would take some 20 ms."""
STEP_CHARACTERS = 32
"""Characters of a usual rollout that take as long to read as one step takes to compare."""
SLOWEST_STEP_CHARACTERS = 2
"""The same for the texts that take longest to read: 8192 of their characters take some 30 ms."""

T = TypeVar("T")


class Pace:
    """Paces the work of one request, so that others wait for milliseconds only.

    Args:
        thread: Does the work of long rollouts and large groups, one after another.
        claim: The memory of the request, which counts until such work has ended.
    """

    def __init__(self, thread: WorkerThreads, claim: Claim) -> None:
        self._thread = thread
        self._claim = claim
        self._until_s = time.monotonic() + TURN_S

    async def run(self, steps: int, work: Callable[[], T]) -> T:
        """The result of `work`, which takes as long as comparing `steps` steps."""
        if steps >= LARGE:
            return await self._thread.run(work, self._claim)
        if time.monotonic() >= self._until_s:
            await asyncio.sleep(0)
            self._until_s = time.monotonic() + TURN_S
        return work()
