"""The body of a request as it arrives: bounded in size and in time."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from ireasoner.reward_server.errors import BodyTooSlow, RequestTooLarge


class ArrivingBody:
    """Passes on the parts of a body until it is too large or too slow; after that it reads no further.

    Args:
        headers: The request's.
        receive: Where its parts come from.
        max_bytes: Largest body.
        timeout_s: Seconds that the whole body may take.

    Raises:
        RequestTooLarge: The header `content-length` exceeds `max_bytes`.
    """

    def __init__(self, headers: Headers, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s
        self._bytes = 0
        self._complete = False
        declared = headers.get("content-length", "0")
        self._exists = declared != "0" or "transfer-encoding" in headers
        if declared.isdecimal() and int(declared) > max_bytes:
            raise self._too_large()

    @property
    def is_arriving(self) -> bool:
        """Whether some of it was not received yet."""
        return self._exists and not self._complete

    async def receive(self) -> Message:
        """The next part of the body; after the last part, whatever the caller does next.

        Raises:
            RequestTooLarge: More than `max_bytes` have arrived.
            BodyTooSlow: `timeout_s` have passed.
        """
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._end_s - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow(f"the body did not arrive within {self._timeout_s:g} s") from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._max_bytes:
            raise self._too_large()
        self._complete = not message.get("more_body", False)
        return message

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"the body is larger than {self._max_bytes} bytes")
