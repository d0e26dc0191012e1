"""Requests carry the trace of their caller."""

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import TracerProvider

from ireasoner.clients import AsyncRewardClient, Group, RewardClient, Rollout
from tests.clients.answers import right_answer

GROUPS = [Group(str(number), [Rollout("0", "a")]) for number in range(3)]
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Call = Callable[[str, str | None], None]


@pytest.fixture
def traces() -> Iterator[tuple[str, list[str | None]]]:
    """A server, and the `traceparent` of each request."""
    got: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            got.append(self.headers["traceparent"])
            body = json.dumps(right_answer(sent, "outcome")).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def by_sync(url: str, traceparent: str | None) -> None:
    with RewardClient(url, traceparent=traceparent) as client:
        assert len(list(client.score_many("outcome", GROUPS, groups_per_request=1))) == len(GROUPS)


def by_async(url: str, traceparent: str | None) -> None:
    async def call() -> None:
        async with AsyncRewardClient(url, traceparent=traceparent) as client:
            answers = [each async for each in client.score_many("outcome", GROUPS, groups_per_request=1)]
            assert len(answers) == len(GROUPS)

    asyncio.run(call())


CLIENTS = pytest.mark.parametrize("call", [by_sync, by_async])


@CLIENTS
def test_requests_are_part_of_the_current_span(traces: tuple[str, list[str | None]], call: Call) -> None:
    url, got = traces
    with TracerProvider().get_tracer("test").start_as_current_span("update") as span:
        call(url, GIVEN)
    context = span.get_span_context()
    assert {str(each)[:-2] for each in got} == {f"00-{context.trace_id:032x}-{context.span_id:016x}-"}
    assert len(got) == len(GROUPS)


@CLIENTS
def test_a_trace_can_be_passed(
    traces: tuple[str, list[str | None]], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = traces
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    call(url, GIVEN)
    call(url, None)
    assert got == [GIVEN] * len(GROUPS) + [None] * len(GROUPS)
