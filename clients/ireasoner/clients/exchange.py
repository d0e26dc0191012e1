"""What the sync and the async client share: the setup of httpx, and the translation of its errors."""

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
    """The headers of every request: the time-out, and token and trace if there are any."""
    carried = {"x-request-timeout": f"{timeout_s:g}"}
    if token is not None:
        carried["authorization"] = f"Bearer {token}"
    if traceparent is not None:
        carried["traceparent"] = traceparent
    return carried


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
    """`timeout_s` for the answer and for a free connection, at most 5 s for a new connection."""
    return httpx.Timeout(timeout_s, connect=min(5.0, timeout_s))


def address(url: str) -> httpx.URL:
    """The address of a server; raises ValueError if `url` is not one, for example if it has no scheme."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is not a server's address; write it like http://127.0.0.1:8010")
    return parsed


def trusts_proxies(base_url: httpx.URL) -> bool:
    """Whether to use the environment's proxies: never for a server on this machine."""
    return base_url.host not in {"localhost", "127.0.0.1", "::1"}


def limits(max_connections: int) -> httpx.Limits:
    """A pool that keeps idle connections open."""
    return httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)


@contextmanager
def named_errors(url: str) -> Iterator[None]:
    """Turns the errors of httpx into those of this package, with the address in the message."""
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
    """The body of a 200; raises the error for any other status."""
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
