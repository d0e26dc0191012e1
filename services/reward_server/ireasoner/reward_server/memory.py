"""The memory that requests in progress take together: counted before it is allocated, bounded, and given back."""

import asyncio
import ctypes
import gc
from types import TracebackType
from typing import Any, Self

from ireasoner.reward_server.errors import Overloaded, RequestTooLarge

LARGE_BYTES = 16 * 2**20
"""A request that held more than this leaves memory that the allocator would keep."""
TRIM_AFTER_S = 2.0
"""Seconds from the end of a large request until its memory is given back: another one may come."""


class Memory:
    """The bytes that all requests in progress may take, `max_bytes`, and those that they hold now.

    Args:
        max_bytes: Of all requests together.
        whole: Counts the same bytes too, if this is the part of it that requests of one kind may take.
    """

    def __init__(self, max_bytes: int, whole: "Memory | None" = None) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._whole = whole
        self._trimming: asyncio.TimerHandle | None = None

    def claim(self) -> "Claim":
        """The claim of a new request, which holds nothing yet."""
        return Claim(self)

    def check(self, held: int, count: int) -> None:
        """Raises what `Claim.hold` raises if a request that holds `held` bytes cannot hold `count` more."""
        most = self.max_bytes
        if held + count > most:
            raise RequestTooLarge(
                f"the request takes {held + count} bytes of memory; this server holds {most} in all"
            )
        if self.held_bytes + count > most:
            raise Overloaded(
                f"requests in progress hold {self.held_bytes} bytes and {count} more do not fit into {most}",
                retry_after_s=1,
            )
        if self._whole is not None:
            self._whole.check(held, count)

    def take(self, count: int) -> None:
        """Counts bytes that a request is about to take; `check` has allowed it."""
        self.held_bytes += count
        if self._whole is not None:
            self._whole.take(count)

    def release(self, count: int) -> None:
        """Takes back what a request has held."""
        self.held_bytes -= count
        if self._whole is not None:
            self._whole.release(count)
        elif count >= LARGE_BYTES and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(TRIM_AFTER_S, self._trim_in_thread)

    def _trim_in_thread(self) -> None:
        self._trimming = None
        asyncio.get_running_loop().run_in_executor(None, _trim)


class Claim:
    """The bytes that one request holds, until the end of the block and of the work that outlives it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._bytes = 0
        self._users = 0

    def hold(self, count: int) -> None:
        """Counts `count` more bytes, which the request is about to take.

        Raises:
            RequestTooLarge: They would not fit even if this were the only request.
            Overloaded: They do not fit beside what other requests hold.
        """
        self._memory.check(self._bytes, count)
        self._memory.take(count)
        self._bytes += count

    def has_room(self, count: int) -> bool:
        """Whether `count` more bytes could be held now."""
        most = self._memory.max_bytes
        return max(self._bytes, self._memory.held_bytes) + count <= most

    def keep_until(self, done: asyncio.Future[Any]) -> None:
        """Holds everything at least until this work has ended: a thread goes on when its request is over."""
        self._users += 1
        done.add_done_callback(lambda _: self._leave())

    def __enter__(self) -> Self:
        self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._memory.release(self._bytes)
            self._bytes = 0


def _trim() -> None:
    """Has glibc return free memory to the kernel; other allocators do so by themselves."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
