"""Every call ends at its deadline, however slowly a server answers, and leaves no thread behind."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ireasoner.clients import NotReady, TimedOut, Unreachable
from tests.clients.answers import GROUPS, SENT, right_answer
from tests.clients.lying_server import CLIENTS, LyingServer, lying, response

BODY = json.dumps(right_answer(SENT)).encode()
CHUNKED: dict[str, Any] = {"content_length": None, "transfer_encoding": "chunked"}
Drip = Callable[[LyingServer], Iterator[bytes]]

DRIPS: dict[str, Drip] = {
    "the whole response": lambda liar: liar.drip(response(BODY)),
    "the status line": lambda liar: liar.drip(b"HTTP/1.1 200 " + b"O" * 5_000),
    "the head": lambda liar: liar.drip(b"x-a: b\r\n" * 5_000, b"HTTP/1.1 200 OK\r\n"),
    "the body": lambda liar: liar.drip(BODY, response(b"", content_length=str(len(BODY)))),
    "a body without a length": lambda liar: liar.drip(BODY * 9, response(b"", content_length=None)),
    "chunks": lambda liar: liar.drip(b"1\r\n \r\n" * 5_000, response(b"", **CHUNKED)),
    "the length of a chunk": lambda liar: liar.drip(b"0" * 5_000, response(b"", **CHUNKED)),
    "trailers": lambda liar: liar.drip(
        b"x-a: b\r\n" * 5_000, response(b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY), **CHUNKED)
    ),
    "promises to continue": lambda liar: liar.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000),
    "an error": lambda liar: liar.drip(BODY, response(b"", "503 No", content_length=str(len(BODY)))),
    "nothing": lambda liar: iter([b""] if liar.ends.wait() else []),
}


@pytest.fixture(scope="module")
def liar() -> Iterator[LyingServer]:
    with lying() as started:
        yield started


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_dripping_answer_ends_at_the_deadline(client: Any, liar: LyingServer, drip: Drip) -> None:
    """Each byte arrives well within the limit of a read; all of them would take a minute or more."""
    liar.reply, liar.written = lambda *_: drip(liar), 0
    with client(liar.url, timeout_s=0.3) as call, pytest.raises(TimedOut, match="/score/solver: no whole"):
        call("score", "solver", GROUPS)
    assert liar.written < 500


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_retries_of_a_dripping_answer_end_with_their_budget(client: Any, liar: LyingServer) -> None:
    liar.reply = lambda *_: liar.drip(BODY * 9, response(b"", content_length=None))
    liar.requests.clear()
    options = {"timeout_s": 0.1, "retry_budget_s": 0.5}
    with client(liar.url, **options) as call, pytest.raises(TimedOut):
        call("score", "solver", GROUPS)
    assert 2 <= len(liar.requests) <= 7


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_readiness_that_drips_ends_at_the_callers_deadline(client: Any, liar: LyingServer) -> None:
    liar.reply, liar.written = lambda *_: liar.drip(b" " * 50_000, response(b"", content_length=None)), 0
    with client(liar.url, timeout_s=1_000) as call, pytest.raises(NotReady, match="not ready within"):
        call("wait_until_ready", 0.3)
    assert liar.written < 500


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_server_that_reads_nothing_ends_at_the_deadline(client: Any) -> None:
    """The request is larger than the buffers of both sockets."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        groups = [type(GROUPS[0])("g", [type(GROUPS[0].rollouts[0])("0", "x" * 20_000_000)])]
        with client(url, timeout_s=0.5) as call, pytest.raises(TimedOut):
            call("score", "solver", groups)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_server_that_accepts_nothing_ends_at_the_deadline(client: Any) -> None:
    """The backlog of the port is full, so the kernel drops the next connections."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}"
        with client(url, timeout_s=0.3) as call, pytest.raises((TimedOut, Unreachable)):
            call("score", "solver", GROUPS)
        for each in waiting:
            each.close()


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_connection_that_dripped_is_not_used_again(client: Any, liar: LyingServer) -> None:
    with client(liar.url, timeout_s=1) as call:
        liar.reply = lambda *_: liar.drip(BODY, response(b"", content_length=str(len(BODY))))
        with pytest.raises(TimedOut):
            call("score", "solver", GROUPS)
        liar.reply = lambda *_: [response(BODY)]
        for _ in range(3):
            assert call("score", "solver", GROUPS).groups[0].id == "q1"


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_no_thread_is_left_behind(client: Any, liar: LyingServer) -> None:
    """A `TimedOut` ends the work itself; nobody waits for it in the background."""
    liar.reply = lambda *_: liar.drip(BODY * 9, response(b"", content_length=None))
    before = _threads_beside(liar)
    with client(liar.url, timeout_s=0.1) as call:
        for _ in range(3):
            with pytest.raises(TimedOut):
                call("score", "solver", GROUPS)
        assert _threads_beside(liar) <= before


def _threads_beside(liar: LyingServer) -> set[threading.Thread]:
    """All threads but those in which the lying server answers."""
    return {each for each in threading.enumerate() if "process_request_thread" not in each.name}
