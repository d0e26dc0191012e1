"""The clients with a server that is unreachable, busy, broken or not a reward server, over real sockets."""

import asyncio
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ireasoner.clients import (
    AsyncRewardClient,
    ConnectionBroken,
    Fault,
    Group,
    NotReady,
    Overloaded,
    RequestRefused,
    RewardClient,
    RewardError,
    Rollout,
    ServerFailed,
    ServerProblem,
    TimedOut,
    Unavailable,
    Unreachable,
)
from tests.clients.answers import right_answer
from tests.rollout_server.running import free_port

GROUPS = [Group("g", [Rollout("0", "a")])]
ANSWER = json.dumps(right_answer({"groups": [{"id": "g", "rollouts": [{"id": "0"}]}]})).encode()
Script = list[tuple[int, dict[str, str], bytes]]
BROKEN = 0
"""A status that means no answer: the connection ends."""


@contextmanager
def scripted(script: Script, delay_s: float = 0.0) -> Iterator[tuple[str, list[str]]]:
    """A server that sends the answers of a script in turn, then repeats the last; and the paths of its requests."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = script[min(len(paths), len(script) - 1)]
            paths.append(self.path)
            time.sleep(delay_s)
            if status == BROKEN:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def by_sync(url: str, retry_budget_s: float, timeout_s: float) -> None:
    with RewardClient(url, retry_budget_s=retry_budget_s, timeout_s=timeout_s) as client:
        client.score("solver", GROUPS)


def by_async(url: str, retry_budget_s: float, timeout_s: float) -> None:
    async def call() -> None:
        async with AsyncRewardClient(url, retry_budget_s=retry_budget_s, timeout_s=timeout_s) as client:
            await client.score("solver", GROUPS)

    asyncio.run(call())


Call = Callable[[str, float, float], None]
CLIENTS = pytest.mark.parametrize("call", [by_sync, by_async])


@CLIENTS
@pytest.mark.parametrize("status", [429, 502, 503, 504, BROKEN])
def test_temporary_failures_are_retried(call: Call, status: int) -> None:
    with scripted([(status, {}, b"busy"), (status, {}, b"{}"), (200, {}, ANSWER)]) as (url, paths):
        call(url, 30, 10)
    assert paths == ["/score/solver"] * 3


@CLIENTS
@pytest.mark.parametrize(
    ("status", "error"),
    [(422, RequestRefused), (404, RequestRefused), (500, ServerFailed)],
)
def test_permanent_failures_are_not_retried(call: Call, status: int, error: type[RewardError]) -> None:
    with scripted([(status, {}, b"no")]) as (url, paths), pytest.raises(error):
        call(url, 30, 10)
    assert len(paths) == 1


@CLIENTS
def test_retries_end_with_their_budget(call: Call) -> None:
    problem = b'{"code": "overloaded", "detail": "the queue is full"}'
    with (
        scripted([(429, {"retry-after": "3600"}, problem)]) as (url, paths),
        pytest.raises(Overloaded) as ended,
    ):
        call(url, 1, 10)
    assert len(paths) == 1
    assert (ended.value.code, ended.value.retry_after_s) == ("overloaded", 3600)
    for status, error in ((503, Unavailable), (BROKEN, ConnectionBroken)):
        with scripted([(status, {}, b"")]) as (url, paths), pytest.raises(error):
            call(url, 1, 10)
        assert len(paths) > 1


@CLIENTS
def test_a_timed_out_request_is_retried_within_the_budget(call: Call) -> None:
    with scripted([(200, {}, ANSWER)], delay_s=0.5) as (url, paths), pytest.raises(TimedOut):
        call(url, 1, 0.2)
    assert len(paths) > 1
    with scripted([(200, {}, ANSWER)], delay_s=0.5) as (url, paths), pytest.raises(TimedOut):
        call(url, 0, 0.2)
    assert len(paths) == 1


@CLIENTS
def test_an_unreachable_server_is_retried_and_then_named(call: Call) -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        call(f"http://127.0.0.1:{free_port()}", 0.5, 1)


def test_waiting_ends_when_the_server_is_ready_late_or_dead() -> None:
    with scripted([(503, {}, b'{"ready": false}'), (200, {}, b'{"ready": true}')]) as (url, paths):
        with RewardClient(url) as client:
            client.wait_until_ready(30)
        assert paths == ["/readyz"] * 2

        async def wait() -> None:
            async with AsyncRewardClient(url) as client:
                await client.wait_until_ready(30)

        asyncio.run(wait())
    with RewardClient(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(NotReady, match=r"not ready within 0\.3 s"):
            client.wait_until_ready(0.3)
        with pytest.raises(NotReady, match="died"):
            client.wait_until_ready(3600, is_alive=lambda: False)


def test_no_proxy_is_used_for_a_server_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with scripted([(200, {}, ANSWER)]) as (url, paths):
        with RewardClient(url, retry_budget_s=0) as client:
            assert client.score("solver", GROUPS).groups[0].id == "g"

        async def ask() -> str:
            async with AsyncRewardClient(url, retry_budget_s=0) as client:
                return (await client.score("solver", GROUPS)).groups[0].id

        assert asyncio.run(ask()) == "g"
    assert len(paths) == 2


@pytest.mark.parametrize("kind", [RequestRefused, Overloaded, Unavailable, ServerFailed])
def test_the_errors_of_a_server_can_be_pickled(kind: type[ServerProblem]) -> None:
    problem = kind(503, "not_ready", "wait", faults=(Fault("a", "b"),), request_id="r", retry_after_s=1.5)
    copy = pickle.loads(pickle.dumps(problem))
    assert type(copy) is kind
    assert (str(copy), copy.faults, copy.retry_after_s) == (str(problem), problem.faults, 1.5)
