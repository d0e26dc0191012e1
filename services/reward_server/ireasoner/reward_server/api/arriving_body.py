"""The body of a request on its way in, held to what it may be."""

import asyncio
import time
from dataclasses import dataclass
from typing import Self

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from ireasoner.reward_server.errors import BodyTooSlow, RequestTooLarge
from ireasoner.reward_server.settings import RewardServerSettings


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a body may be, and how long it may take."""

    max_bytes: int
    timeout_s: float

    @classmethod
    def of(cls, settings: RewardServerSettings) -> Self:
        """Those that the server's options say."""
        return cls(settings.max_body_bytes, settings.body_timeout_s)


class ArrivingBody:
    """Passes on what arrives until the body is too large or too slow; then it is not read any further.

    Raises RequestTooLarge, at once if the header `content-length` says so.
    """

    def __init__(self, headers: Headers, receive: Receive, limits: BodyLimits) -> None:
        self._receive = receive
        self._limits = limits
        self._end_s = time.monotonic() + limits.timeout_s
        self._bytes = 0
        self._complete = False
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limits.max_bytes:
            raise self._too_large()

    async def receive(self) -> Message:
        """The next part, and after the last one what the caller does; raises RequestTooLarge and BodyTooSlow."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._end_s - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow(f"the body did not arrive within {self._limits.timeout_s:g} s") from None
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._limits.max_bytes:
            raise self._too_large()
        self._complete = not message.get("more_body", False)
        return message

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"the body is larger than {self._limits.max_bytes} bytes")
