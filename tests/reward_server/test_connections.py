"""Connections: what a caller can hold before it has sent a whole request, and after it was refused."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ireasoner.reward_server.api.connection import READ_BYTES, ConnectionLimits
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.settings import RewardServerSettings
from tests.attack.sockets import connect, sends_until_closed, status_of
from tests.reward_server.running import running

HEAD = b"GET /livez HTTP/1.1\r\nhost: x\r\n"
DEADLINE_S = 30
MOST = 6
HEAD_S = 1.5
"""Seconds for a head: a caller on a busy machine needs one."""


@pytest.fixture(scope="module")
def hasty(compass: Path) -> Iterator[str]:
    """A server whose callers have little time for a head, and which takes few of them."""
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    bounds = ConnectionLimits(max_connections=MOST, head_timeout_s=HEAD_S, linger_s=0.5)
    with running(settings, limits=Limits(connections=bounds)) as url:
        yield url


@pytest.mark.parametrize("began", [b"", b"G", HEAD, HEAD + b"a: b"])
def test_a_connection_without_a_whole_head_is_closed(hasty: str, began: bytes) -> None:
    with connect(hasty, DEADLINE_S) as idle:
        idle.sendall(began)
        assert status_of(idle) == "closed"


def test_a_head_that_drips_is_cut_off(hasty: str) -> None:
    with connect(hasty, DEADLINE_S) as slow:
        slow.sendall(HEAD)
        assert sends_until_closed(slow, b"a: b\r\n", DEADLINE_S)


def test_the_deadline_of_a_head_holds_for_every_request_of_a_connection(hasty: str) -> None:
    with connect(hasty, DEADLINE_S) as kept:
        for _ in range(3):
            kept.sendall(HEAD + b"\r\n")
            assert status_of(kept) == "200"
        kept.sendall(HEAD)
        assert status_of(kept) == "closed"


def test_an_idle_connection_stays_open_for_the_next_request(hasty: str) -> None:
    """Longer than a head may take."""
    with connect(hasty, DEADLINE_S) as kept:
        for _ in range(2):
            kept.sendall(HEAD + b"\r\n")
            assert status_of(kept) == "200"
            time.sleep(HEAD_S + 0.3)


def test_connections_that_wait_make_room_for_others(hasty: str) -> None:
    idle = [connect(hasty, DEADLINE_S) for _ in range(3 * MOST)]
    try:
        for each in idle[-2:]:
            each.sendall(HEAD + b"\r\n")
            assert status_of(each) == "200"
        assert [status_of(each) for each in idle[: 2 * MOST]] == ["closed"] * 2 * MOST
    finally:
        for each in idle:
            each.close()


def test_requests_in_progress_are_not_closed_for_others(hasty: str) -> None:
    busy = [connect(hasty, DEADLINE_S) for _ in range(MOST - 1)]
    body = b'{"prompt": "%d", "response": "r"}'
    head = b"POST /cohort/remote?group_size=2&deadline_s=%d HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n"
    try:
        for number, each in enumerate(busy):
            sent = body % number
            each.sendall(head % (4, len(sent)) + b"content-type: application/json\r\n\r\n" + sent)
        for _ in range(2 * MOST):
            assert httpx.get(f"{hasty}/livez").status_code == 200
        assert [status_of(each) for each in busy] == ["200"] * len(busy)
    finally:
        for each in busy:
            each.close()


@pytest.mark.parametrize(
    ("size", "status"), [(1_000, "200"), (60_000, "200"), (66_000, "431"), (80_000, "431"), (500_000, "431")]
)
@pytest.mark.parametrize("what", ["one header", "many headers", "the path"])
def test_a_large_head_is_refused(compass_url: str, size: int, status: str, what: str) -> None:
    head = {
        "one header": HEAD + b"a: " + b"a" * size,
        "many headers": HEAD + b"a: %s\r\n" % (b"a" * 50) * (size // 55) + b"b: c",
        "the path": b"GET /livez?" + b"a" * size + b" HTTP/1.1\r\nhost: x",
    }[what]
    with connect(compass_url, DEADLINE_S) as caller:
        caller.sendall(head + b"\r\n\r\n")
        assert status_of(caller) == status


@pytest.mark.parametrize(
    ("route", "length", "status"),
    [("/nowhere", 10**7, "404"), ("/livez", 10**7, "405"), ("/score/outcome", 10**9, "413")],
)
def test_a_refused_caller_that_still_sends_can_read_why(
    compass_url: str, route: str, length: int, status: str
) -> None:
    with connect(compass_url, DEADLINE_S) as caller:
        caller.sendall(f"POST {route} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode())
        caller.sendall(b"x" * 4 * READ_BYTES)
        answer = b""
        while part := caller.recv(2**16):
            answer += part
        assert answer.startswith(b"HTTP/1.1 %s " % status.encode())
        assert b"\r\nconnection: close\r\n" in answer


def test_what_a_refused_caller_goes_on_sending_is_not_read_for_long(hasty: str) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with connect(hasty, DEADLINE_S) as caller:
        caller.sendall(head)
        assert sends_until_closed(caller, b"1\r\nx\r\n" * 1000, DEADLINE_S)


def test_keep_alive_survives_errors_of_whole_requests(compass_url: str) -> None:
    with connect(compass_url, DEADLINE_S) as caller:
        for route, status in (("/nowhere", "404"), ("/score/solver", "405"), ("/livez", "200")) * 2:
            caller.sendall(f"GET {route} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            assert status_of(caller) == status


@pytest.mark.parametrize(
    "forwarded", [{}, {"x-forwarded-proto": "https", "x-forwarded-host": "evil.example"}]
)
@pytest.mark.parametrize(
    ("path", "location"),
    [("/livez/", "../livez"), ("/score/solver/?a=b", "../solver?a=b"), ("/", "docs")],
)
def test_redirects_keep_scheme_host_and_prefix(
    compass_http: httpx.Client, path: str, location: str, forwarded: dict[str, str]
) -> None:
    headers = {"host": "reward.example", **forwarded}
    method = "POST" if "score" in path else "GET"
    assert compass_http.request(method, path, headers=headers).headers["location"] == location


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/configs/mine", "DELETE, GET, PUT"),
        ("POST", "/configs", "GET"),
        ("GET", "/score/solver", "POST"),
        ("PUT", "/livez", "GET"),
    ],
)
def test_allow_lists_every_method(compass_http: httpx.Client, method: str, path: str, allowed: str) -> None:
    refused = compass_http.request(method, path)
    assert (refused.status_code, refused.headers["allow"]) == (405, allowed)


def test_websockets_are_not_offered(compass_url: str) -> None:
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n"
    with connect(compass_url, DEADLINE_S) as caller:
        caller.sendall(HEAD + upgrade + b"\r\n")
        assert status_of(caller) == "200"


def test_tiny_chunks_let_others_through(hasty: str) -> None:
    """What one turn of the event loop parses is bounded, whatever has arrived."""
    with socket.socket() as caller:
        address = httpx.URL(hasty)
        caller.connect((address.host, address.port))
        caller.sendall(b"POST /score/solver HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        caller.sendall(b"1\r\n \r\n" * 30_000)
        assert httpx.get(f"{hasty}/livez").status_code == 200
        caller.sendall(b"0\r\n\r\n")
        assert status_of(caller) == "422"
