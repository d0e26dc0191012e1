"""HTTP connections: uvicorn's h11 protocol, with bounds on what a caller can hold before it has shown a token.

uvicorn bounds neither the time of a head nor the number of connections, and parses what a refused caller goes on
sending. httptools, which uvicorn takes if it is installed, has no limit on headers; h11 refuses a head that is
incomplete after 64 KiB.
"""

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ireasoner.reward_server.api import problems
from ireasoner.reward_server.errors import HeadTooLarge

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 2**16
"""Path and headers of a request together."""
CONNECTION_BYTES = 32_000
"""Memory of an open connection, whatever its callers have sent, besides what is counted: heads that are incomplete
here, and requests in progress in `memory`. tracemalloc counts up to 16,000, and up to 28,000 with FastAPI 0.165."""
READ_BYTES = 2**14
"""Bytes that are parsed in one turn of the event loop: as chunks of one byte they take some 30 ms."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds on connections.

    Attributes:
        max_connections: Connections that may be open at once. Beyond it, the one that has waited longest for a whole
            request is closed.
        max_heads_bytes: Bytes of all heads that are incomplete. Beyond it, the connection whose head has been
            incomplete for longest is closed.
        head_timeout_s: Seconds that a head may take, from the connection or from the first byte of a later request.
        linger_s: Seconds for which the rest of a request is thrown away after its response, so that the caller gets
            to read the response.
    """

    max_connections: int = 8_192
    max_heads_bytes: int = 32 * 2**20
    head_timeout_s: float = 10.0
    linger_s: float = 5.0


class _Heads:
    """The bytes of incomplete heads by connection, the oldest first."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self._bytes: OrderedDict[H11Protocol, int] = OrderedDict()

    def add(self, connection: H11Protocol, count: int) -> None:
        """Counts bytes that have arrived."""
        self._bytes[connection] = self._bytes.get(connection, 0) + count
        self.total_bytes += count

    def discard(self, connection: H11Protocol) -> None:
        """Forgets a head that is complete, or whose connection has ended."""
        self.total_bytes -= self._bytes.pop(connection, 0)

    def take_oldest(self) -> H11Protocol:
        """Removes and returns the connection whose head has been incomplete for longest."""
        oldest, count = self._bytes.popitem(last=False)
        self.total_bytes -= count
        return oldest


class Connection(H11Protocol, asyncio.BufferedProtocol):
    """A connection that is closed if it is not used for whole requests, in time."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    waiting: ClassVar[OrderedDict[H11Protocol, None]]
    """The server's connections without a request in progress, the longest waiting first."""
    heads: ClassVar[_Heads]
    buffer: ClassVar[bytearray]

    @classmethod
    def within(cls, limits: ConnectionLimits) -> type[Self]:
        """The protocol of one server."""
        shared = {
            "limits": limits,
            "waiting": OrderedDict(),
            "heads": _Heads(),
            "buffer": bytearray(READ_BYTES),
        }
        return type(cls.__name__, (cls,), shared)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._is_lingering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for a request; if too many connections are open, closes the one that waits longest."""
        super().connection_made(transport)
        self.waiting[self] = None
        self._start_deadline(self.limits.head_timeout_s)
        if len(self.connections) > self.limits.max_connections:
            log.debug("more than %d connections are open", self.limits.max_connections)
            longest, _ = self.waiting.popitem(last=False)
            longest.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        super().connection_lost(exc)
        self.waiting.pop(self, None)
        self.heads.discard(self)
        self._end_deadline()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Where the next bytes are put, at most READ_BYTES."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Takes bytes that have arrived."""
        if self._is_lingering:
            return
        if self in self.waiting:
            self._note_head(nbytes)
        self.data_received(bytes(memoryview(self.buffer)[:nbytes]))
        self._note_request()

    def on_response_complete(self) -> None:
        """Waits for the next request, or lingers if this one has not arrived as a whole."""
        self._forget_request()
        if self._is_lingering:
            return
        if self.conn.their_state is h11.SEND_BODY:
            self.close()
            return
        self.waiting[self] = None
        super().on_response_complete()
        self._note_request()
        if self in self.waiting and (begun := self.conn.trailing_data[0]):
            self._note_head(len(begun))

    def send_400_response(self, msg: str) -> None:
        """Refuses what is not HTTP, or a head that is too large."""
        unread, _ = self.conn.trailing_data
        if len(unread) <= MAX_HEAD_BYTES:
            super().send_400_response(msg)
            return
        error = HeadTooLarge(f"path and headers have more than {MAX_HEAD_BYTES} bytes")
        refusal = problems.answer(error, "-")
        head = h11.Response(
            status_code=refusal.status_code, headers=[*refusal.raw_headers, (b"connection", b"close")]
        )
        for event in (head, h11.Data(data=bytes(refusal.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self._linger()

    def close(self) -> None:
        """Closes the connection; if the caller is still sending its request, once it had time to read the response."""
        if self.conn.their_state is h11.SEND_BODY:
            self._linger()
        elif not self._is_lingering:
            self.transport.close()

    def _note_head(self, count: int) -> None:
        """Counts bytes of a head, which must then be complete in time; the oldest heads make room for it."""
        if self._deadline is None:
            self._start_deadline(self.limits.head_timeout_s)
        self.heads.add(self, count)
        while self.heads.total_bytes > self.limits.max_heads_bytes:
            log.debug("incomplete heads have more than %d bytes", self.limits.max_heads_bytes)
            self.heads.take_oldest().transport.close()

    def _note_request(self) -> None:
        """Ends the deadline once a head is complete."""
        if self.cycle is not None and self in self.waiting and not self.cycle.response_complete:
            del self.waiting[self]
            self.heads.discard(self)
            self._end_deadline()
            self.cycle.transport = _Response(self)  # type: ignore[assignment]

    def _forget_request(self) -> None:
        """Drops the head of a request that is answered: uvicorn keeps it until the next one, which may never come."""
        self.headers = []
        self.scope = self.cycle.scope = {}  # type: ignore[typeddict-item]
        self.cycle.body = bytearray()

    def _linger(self) -> None:
        """Sends nothing more and throws away what arrives, until the caller closes the connection or for `linger_s`."""
        self._is_lingering = True
        self.heads.discard(self)
        self.conn = h11.Connection(h11.SERVER)  # the old one keeps what it has not parsed
        self._unset_keepalive_if_required()
        self.waiting[self] = None
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            with suppress(OSError):  # the caller has gone
                self.transport.write_eof()
        self._start_deadline(self.limits.linger_s)

    def _start_deadline(self, seconds: float) -> None:
        self._end_deadline()
        self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Response:
    """The transport as uvicorn sees it while it answers: closing it gives the caller time to read the answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing

    def close(self) -> None:
        self._connection.close()
