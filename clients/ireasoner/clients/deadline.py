"""Deadlines for whole exchanges. httpx limits each read and write, so a server could drip its response for hours.

On an event loop `asyncio.timeout` ends everything. The sync client sends through a `DeadlineTransport`, under which
no operation of a socket outlasts the block `with deadline(...)` that started it.
"""

import math
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import httpcore
import httpx

_END_S: ContextVar[float] = ContextVar("end_s", default=math.inf)
_SENT_BYTES = 2**16


def check_seconds(**times: float) -> None:
    """Raises ValueError for a time that is negative, infinite or NaN: every wait ends."""
    for name, seconds in times.items():
        if not 0 <= seconds < math.inf:
            raise ValueError(f"{name} is {seconds!r}, not a number of seconds")


@contextmanager
def deadline(timeout_s: float) -> Iterator[None]:
    """Ends all that the block sends and receives through a `DeadlineTransport` after `timeout_s` seconds."""
    before = _END_S.set(time.monotonic() + timeout_s)
    try:
        yield
    finally:
        _END_S.reset(before)


def _left_s(timeout_s: float | None, expired: type[httpcore.TimeoutException]) -> float:
    """`timeout_s`, or what is left until the deadline if that is less; raises `expired` if nothing is."""
    left_s = _END_S.get() - time.monotonic()
    if left_s <= 0:
        raise expired("the deadline has passed")
    return left_s if timeout_s is None else min(timeout_s, left_s)


class _Stream(httpcore.NetworkStream):
    """A connection, each of whose operations ends at the deadline of the exchange that it serves."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # The stream beneath allows the whole time-out for each part that the server takes.
        for start in range(0, len(buffer), _SENT_BYTES):
            part = buffer[start : start + _SENT_BYTES]
            self._stream.write(part, _left_s(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Opens connections that keep the deadline."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _left_s(timeout, httpcore.ConnectTimeout)
        return _Stream(super().connect_tcp(host, port, left_s, local_address, socket_options))


class _Body(httpx.SyncByteStream):
    """The body of a response, with httpx's errors for httpcore's."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        with _httpx_errors():
            yield from self._parts

    def close(self) -> None:
        cast(Any, self._parts).close()


class DeadlineTransport(httpx.BaseTransport):
    """A transport like httpx's own over connections that keep a `deadline`.

    Args:
        tls: Of https connections; None if there are none.
        limits: Of the connection pool.
        proxy: The proxy to connect through, None for none.
    """

    def __init__(self, tls: ssl.SSLContext | None, limits: httpx.Limits, proxy: httpx.Proxy | None) -> None:
        shared: dict[str, Any] = {
            "ssl_context": tls,
            "max_connections": limits.max_connections,
            "max_keepalive_connections": limits.max_keepalive_connections,
            "keepalive_expiry": limits.keepalive_expiry,
            "network_backend": _Backend(),
        }
        self._pool = httpcore.ConnectionPool(**shared) if proxy is None else _through(proxy, shared)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request, and returns once the head of its response has arrived."""
        sent = httpcore.Request(
            request.method,
            _url(request.url),
            headers=request.headers.raw,
            content=cast(Iterable[bytes], request.stream),
            extensions=request.extensions,
        )
        with _httpx_errors():
            answer = self._pool.handle_request(sent)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(cast(Iterable[bytes], answer.stream)),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Closes all connections."""
        self._pool.close()


def _through(proxy: httpx.Proxy, shared: dict[str, Any]) -> httpcore.ConnectionPool:
    if proxy.url.scheme.startswith("socks"):
        return httpcore.SOCKSProxy(_url(proxy.url), proxy_auth=proxy.raw_auth, **shared)
    return httpcore.HTTPProxy(_url(proxy.url), proxy_auth=proxy.raw_auth, **shared)


def _url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@contextmanager
def _httpx_errors() -> Iterator[None]:
    """The errors of httpcore as those of httpx, which have the same names."""
    try:
        yield
    except (
        httpcore.TimeoutException,
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.ProxyError,
    ) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
