"""A server on the loopback that writes whatever a test wants, and both clients to ask it with."""

import asyncio
import json
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ireasoner.clients import AsyncRewardClient, BadAnswer, RewardClient, RewardError
from tests.clients.answers import GROUPS, Json

Reply = Callable[[str, Json], Iterable[bytes]]
"""Returns the pieces of a response, head included, to the path and the body of a request."""
Call = Callable[..., Any]
"""A method of the client, by its name, and its arguments."""


class LyingServer(socketserver.ThreadingTCPServer):
    """Answers each connection's one request with the pieces of `reply`.

    Attributes:
        reply: What to answer.
        requests: Paths of the requests so far.
        written: Number of pieces that were written so far.
        ends: Set when the server closes; whoever drips waits on it.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.reply: Reply = lambda *_: ()
        self.requests: list[str] = []
        self.written = 0
        self.ends = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def drip(self, body: bytes, before: bytes = b"") -> Iterator[bytes]:
        """`before`, and then a byte of `body` every 20 ms."""
        yield before
        for index in range(len(body)):
            if self.ends.wait(0.02):
                return
            yield body[index : index + 1]


class _Answering(socketserver.StreamRequestHandler):
    server: LyingServer

    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        headers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get(b"content-length", 0)))
        sent = json.loads(body) if body and headers[b"content-type"] == b"application/json" else {}
        self.server.requests.append(path)
        try:
            for piece in self.server.reply(path, sent):
                self.wfile.write(piece)
                self.server.written += 1
        except OSError:
            pass  # the client has left, as it should when it has read enough


def response(body: bytes, status: str = "200 OK", **headers: str | None) -> bytes:
    """A whole response; a header that is None is left out. Underscores in names are hyphens."""
    sent: dict[str, str | None] = {
        "content_type": "application/json",
        "content_length": str(len(body)),
        "connection": "close",
        **headers,
    }
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in sent.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


@contextmanager
def lying() -> Iterator[LyingServer]:
    """A running server, which ends with the block."""
    with LyingServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.ends.set()
            server.shutdown()
            thread.join()


@contextmanager
def sync_client(url: str, **options: Any) -> Iterator[Call]:
    """Calls of one `RewardClient`."""
    with RewardClient(url, **{"retry_budget_s": 0, **options}) as client:
        yield lambda method, *arguments, **named: getattr(client, method)(*arguments, **named)


@contextmanager
def async_client(url: str, **options: Any) -> Iterator[Call]:
    """Calls of one `AsyncRewardClient` on an event loop of its own."""
    with asyncio.Runner() as runner:
        client = AsyncRewardClient(url, **{"retry_budget_s": 0, **options})
        try:
            yield lambda method, *arguments, **named: runner.run(getattr(client, method)(*arguments, **named))
        finally:
            runner.run(client.aclose())


CLIENTS = {"sync": sync_client, "async": async_client}


def refused(call: Call, liar: LyingServer, error: type[RewardError] = BadAnswer) -> str:
    """The message of the error, which is short and gives the address."""
    with pytest.raises(error) as raised:
        call("score", "solver", GROUPS)
    message = str(raised.value)
    assert message.startswith(f"{liar.url}/score/solver: ")
    assert len(message) < 600
    return message
