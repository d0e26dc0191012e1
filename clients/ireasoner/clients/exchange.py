"""What the sync and the async client share: how a client is set up and how httpx's errors are named."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

import httpx

from ireasoner.clients.codec import decode_problem
from ireasoner.clients.errors import BadAnswer, ConnectionBroken, TimedOut, Unreachable
from ireasoner.clients.wire import Group

JSON = {"content-type": "application/json"}
READY_POLL_S = 0.2


def headers(token: str | None, traceparent: str | None, timeout_s: float) -> dict[str, str]:
    """What every request carries: how long its answer is waited for, and token and trace if there are any."""
    told = {"x-request-timeout": f"{timeout_s:g}"}
    if token is not None:
        told["authorization"] = f"Bearer {token}"
    if traceparent is not None:
        told["traceparent"] = traceparent
    return told


def trace_headers() -> dict[str, str]:
    """The current OpenTelemetry span as headers, by default W3C `traceparent`; the server's spans join its trace.

    Empty in a process that has not loaded OpenTelemetry: this function does not load it.
    """
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry.propagate import inject

    carried: dict[str, str] = {}
    inject(carried)
    return carried


def timeouts(timeout_s: float) -> httpx.Timeout:
    """`timeout_s` for the answer and for a free connection; a connect that takes over 5 s has failed."""
    return httpx.Timeout(timeout_s, connect=min(5.0, timeout_s))


def address(url: str) -> httpx.URL:
    """The address of a server; raises ValueError if `url` is none, as one without its scheme is."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is no server's address: it must be like http://127.0.0.1:8010")
    return parsed


def trusts_proxies(base_url: httpx.URL) -> bool:
    """Whether the environment's proxies are for this server: never for one on this machine."""
    return base_url.host not in {"localhost", "127.0.0.1", "::1"}


def limits(max_connections: int) -> httpx.Limits:
    """A pool that keeps every connection that it has opened for a while."""
    return httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)


@contextmanager
def named_errors(url: str) -> Iterator[None]:
    """Turns whatever httpx raises into one of this package's errors, with the address in it."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unreachable(f"{url}: {error}") from error
    except httpx.TimeoutException as error:
        raise TimedOut(f"{url}: {type(error).__name__} {error}") from error
    except httpx.DecodingError as error:
        raise BadAnswer(f"{url}: {error}") from error
    except httpx.TransportError as error:
        raise ConnectionBroken(f"{url}: {type(error).__name__} {error}") from error


def body_of(response: httpx.Response) -> bytes:
    """The body of a 200; any other status raises the error that it stands for."""
    if response.status_code == 200:
        return response.content
    if response.status_code < 400:
        raise BadAnswer(f"{response.url} answered {response.status_code}; it is not a reward server")
    raise decode_problem(response.status_code, response.headers, response.content)


def chunks(groups: Iterable[Group], size: int) -> Iterator[tuple[Group, ...]]:
    """`groups` in tuples of `size`, the last one shorter."""
    rest = iter(groups)
    while chunk := tuple(islice(rest, size)):
        yield chunk
