"""The memory that requests in progress take together: counted before it is allocated, and bounded."""

from types import TracebackType
from typing import Self

from ireasoner.reward_server.errors import Overloaded, RequestTooLarge


class Memory:
    """The bytes that all requests in progress may take, `max_bytes`, and those that they hold now."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    def claim(self) -> "Claim":
        """The claim of a new request, which holds nothing yet."""
        return Claim(self)


class Claim:
    """The bytes that one request holds; at the end of the block it holds none."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._bytes = 0

    def hold(self, count: int) -> None:
        """Counts `count` more bytes, which the request is about to take.

        Raises:
            RequestTooLarge: They would not fit even if this were the only request.
            Overloaded: They do not fit beside what other requests hold.
        """
        most = self._memory.max_bytes
        if self._bytes + count > most:
            raise RequestTooLarge(
                f"the request takes {self._bytes + count} bytes of memory; this server holds {most} in all"
            )
        if self._memory.held_bytes + count > most:
            raise Overloaded(
                f"requests in progress hold {self._memory.held_bytes} bytes and {count} more do not fit into {most}",
                retry_after_s=1,
            )
        self._bytes += count
        self._memory.held_bytes += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._memory.held_bytes -= self._bytes
        self._bytes = 0
