"""What the sync and the async client share: the setup of httpx, and the translation of its errors."""

import ssl
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from urllib.request import getproxies, proxy_bypass

import httpx

from ireasoner.clients.errors import BadAnswer, ConnectionBroken, TimedOut, Unreachable
from ireasoner.clients.fields import WrongField
from ireasoner.clients.wire import Group

JSON = {"content-type": "application/json"}
BYTES = {"content-type": "application/octet-stream"}
READY_POLL_S = 0.2


def headers(token: str | None, traceparent: str | None, timeout_s: float) -> dict[str, str]:
    """The headers of every request: the time-out, and token and trace if there are any.

    A compressed answer is not accepted: a few kilobytes could unpack to gigabytes.
    """
    carried = {"x-request-timeout": f"{timeout_s:g}", "accept-encoding": "identity"}
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


def tls_context(server: httpx.URL) -> ssl.SSLContext | None:
    """The context for all connections of a client; None without https. To read the certificates takes 40 ms."""
    return httpx.create_ssl_context() if server.scheme == "https" else None


def environment_proxy(server: httpx.URL) -> httpx.Proxy | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name; none for a server on this machine."""
    if server.host in {"localhost", "127.0.0.1", "::1"} or proxy_bypass(server.netloc.decode()):
        return None
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    if not proxy:
        return None
    return httpx.Proxy(proxy if "://" in proxy else f"http://{proxy}")


def limits(max_connections: int) -> httpx.Limits:
    """A pool that keeps idle connections open."""
    return httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)


@contextmanager
def named_errors(url: str) -> Iterator[None]:
    """Turns errors of the exchange and of the reading of its answer into those of this package, with the address."""
    try:
        yield
    except WrongField as error:
        raise BadAnswer(f"{url}: {error}") from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unreachable(f"{url}: {error}") from error
    except (httpx.TimeoutException, TimeoutError) as error:
        raise TimedOut(f"{url}: no whole answer in time: {type(error).__name__} {error}") from error
    except httpx.TransportError as error:
        raise ConnectionBroken(f"{url}: {type(error).__name__} {error}") from error


def chunks(groups: Iterable[Group], size: int) -> Iterator[tuple[Group, ...]]:
    """`groups` in tuples of `size`, the last one shorter.

    A tuple whose groups have voters that come next goes on to these, for at most `size` more groups.
    """
    rest = iter(groups)
    while chunk := list(islice(rest, size)):
        while len(chunk) < 2 * size and _lacks_voters(chunk) and (more := next(rest, None)) is not None:
            chunk.append(more)
        yield tuple(chunk)


def _lacks_voters(chunk: Sequence[Group]) -> bool:
    ids = {group.id for group in chunk}
    return any(group.voters is not None and group.voters not in ids for group in chunk)
