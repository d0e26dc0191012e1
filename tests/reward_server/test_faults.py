"""Faults under load, with the default embedder in its worker process: every group is accounted for."""

import asyncio
import json
import os
import re
import select
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx
import psutil
import pytest

from ireasoner.clients import AsyncRewardClient, Group, RewardClient, RewardError, Rollout, ServerProblem
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.processes import READY_S, RunningServer, server
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running as running_here
from tests.reward_server.test_minilm import SENTENCE
from tests.rollout_server.running import free_port

pytestmark = pytest.mark.xdist_group("reward-server faults")

WORDS = SENTENCE.split()
POINTS = ("east", "north")
SCORED = 'reward_groups_total{config="paper",experiment="-",status="ok"}'
IMPATIENT = (
    "-c",
    "import sys; from ireasoner.reward_server import __main__; from ireasoner.reward_server.embedding import "
    "worker_backend; worker_backend.PASS_TIMEOUT_S = 10.0; "
    "sys.exit(__main__.main())",
)
"""The server's program, with a shorter time limit for a forward pass."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of the server that these tests share."""
    return tmp_path_factory.mktemp("faults") / "log"


@pytest.fixture(scope="module")
def running(log: Path) -> Iterator[RunningServer]:
    """A server without a cache."""
    with server(log, "--drain-notice-s", "1.5", "--cache-mib", "0") as started:
        yield started


@pytest.fixture
def restarts(running: RunningServer) -> int:
    """Restarts of its worker before the test."""
    restarts = running.readiness()["worker_restarts"]
    assert isinstance(restarts, int)
    return restarts


def groups(first: int, size: int, words: Sequence[str] = WORDS) -> list[Group]:
    """`size` groups whose steps are in no other group and begin with `words`."""
    return [
        Group(
            str(number),
            [
                Rollout(
                    str(r), rollout("7", *(f"{' '.join(words[: 9 + s])} {number} {r} {s}" for s in range(3)))
                )
                for r in range(4)
            ],
        )
        for number in range(first, first + size)
    ]


async def post_all(url: str, sent: Iterable[Group], retry_budget_s: float, in_flight: int) -> Counter[str]:
    """Posts each group in a request of its own; counts the outcomes. The id of each must come back, once."""
    ended: Counter[str] = Counter()
    rest = iter(sent)

    async def caller(client: AsyncRewardClient) -> None:
        for each in rest:
            try:
                response = await client.score("solver", [each])
            except ServerProblem as problem:
                ended[problem.code] += 1
            except RewardError as error:
                ended[type(error).__name__] += 1
            else:
                assert [scored.id for scored in response.groups] == [each.id]
                assert all(scored.reward is not None for scored in response.groups[0].rollouts)
                ended["scored"] += 1

    async with AsyncRewardClient(url, retry_budget_s=retry_budget_s) as client:
        await asyncio.gather(*(caller(client) for _ in range(in_flight)))
    return ended


def test_a_killed_worker_is_restarted_and_fails_only_its_own_forward_passes(
    running: RunningServer, restarts: int
) -> None:
    first = running.worker

    async def scenario() -> Counter[str]:
        posting = asyncio.create_task(post_all(running.url, groups(0, 60), 0, 16))
        while await asyncio.to_thread(running.metric, "reward_batch_texts_sum") <= embedded:
            await asyncio.sleep(0.01)
        first.suspend()  # with texts in its forward passes, since all are new
        await asyncio.sleep(0.3)
        first.kill()
        while (await asyncio.to_thread(running.readiness))["ready"]:
            await asyncio.sleep(0.01)
        return await posting

    embedded = running.metric("reward_batch_texts_sum")

    ended = asyncio.run(scenario())
    assert ended.total() == 60
    assert set(ended) <= {"scored", "embedding_failed"}
    # The worker had at most two forward passes, and only the 16 requests in flight can have been in them.
    assert 1 <= ended["embedding_failed"] <= 16
    assert running.worker.pid != first.pid
    readiness = running.readiness()
    assert (readiness["ready"], readiness["worker_restarts"]) == (True, restarts + 1)
    assert asyncio.run(post_all(running.url, groups(0, 60), 0, 16)) == {"scored": 60}


def test_with_retries_no_caller_notices_a_killed_worker(running: RunningServer) -> None:

    async def scenario() -> Counter[str]:
        posting = asyncio.create_task(post_all(running.url, groups(0, 40), 60, 8))
        await asyncio.sleep(0.3)
        running.worker.kill()
        return await posting

    assert asyncio.run(scenario()) == {"scored": 40}


@pytest.mark.slow
def test_a_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    with server(tmp_path / "log", "--cache-mib", "0", main=IMPATIENT) as running:
        hung = running.worker
        hung.suspend()
        ended = asyncio.run(post_all(running.url, groups(300, 3), 0, 3))
        assert ended == {"scored": 3}, "tokenising is retried"
        with RewardClient(running.url) as client:
            client.wait_until_ready(READY_S)
        assert running.worker.pid != hung.pid
        assert asyncio.run(post_all(running.url, groups(303, 3), 60, 3)) == {"scored": 3}


def _address(url: str) -> tuple[str, int]:
    parsed = httpx.URL(url)
    assert parsed.port is not None
    return parsed.host, parsed.port


def body_of(several: list[Group]) -> bytes:
    sent = [
        {"id": each.id, "rollouts": [{"id": r.id, "text": r.text} for r in each.rollouts]} for each in several
    ]
    return json.dumps({"groups": sent}).encode()


def head_of(body: bytes, *more: str) -> bytes:
    lines = [
        "POST /score/solver HTTP/1.1",
        "host: x",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_abandoned_work_is_not_embedded(running: RunningServer) -> None:
    """Callers leave, and deadlines pass, while a long request is being scored."""
    long = body_of(groups(0, 60))
    before = running.metric("reward_batch_texts_sum")
    dropped_before = running.metric("reward_texts_dropped_total")
    with socket.create_connection(_address(running.url)) as working:
        working.sendall(head_of(long) + long)
        while not running.readiness()["queued_texts"]:
            time.sleep(0.01)
        for number in range(100, 110):
            body = body_of(groups(number, 1))
            with socket.create_connection(_address(running.url)) as leaving:
                leaving.sendall(head_of(body) + body)
                time.sleep(0.02)
        late = httpx.post(
            f"{running.url}/score/solver",
            content=body_of(groups(200, 1)),
            headers={"content-type": "application/json", "x-request-timeout": "0.05"},
        )
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        assert late.json()["retryable"] is True
        assert working.recv(100).startswith(b"HTTP/1.1 200")
    end_s = time.monotonic() + 30
    while running.readiness()["queued_texts"] and time.monotonic() < end_s:
        time.sleep(0.05)
    embedded = running.metric("reward_batch_texts_sum") - before
    dropped = running.metric("reward_texts_dropped_total") - dropped_before
    assert embedded + dropped == (60 + 10 + 1) * 12
    assert dropped >= 12
    assert running.metric('reward_requests_total{code="499",experiment="-",route="/score/solver"}') >= 1


def test_sigterm_under_load_finishes_every_accepted_request(running: RunningServer, log: Path) -> None:
    """The last of the tests that share a server, which it ends."""
    worker = running.worker
    logged = len(log.read_text().splitlines())

    async def scenario() -> Counter[str]:
        posting = asyncio.create_task(post_all(running.url, groups(1000, 400), 0, 12))
        await asyncio.sleep(0.5)
        running.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        async with httpx.AsyncClient() as http:
            off = await http.get(f"{running.url}/readyz")
        assert (off.status_code, off.json()["reason"]) == (503, "the server is shutting down")
        return await posting

    ended = asyncio.run(scenario())
    assert running.process.wait(60) == 0
    worker.wait(20)
    assert ended.total() == 400
    # These callers never retry: after the port closed they were refused, or their connections were reset.
    assert set(ended) <= {"scored", "Unreachable", "ConnectionBroken"}
    assert ended["scored"] > 12
    lines = [json.loads(line) for line in log.read_text().splitlines()[logged:] if line.startswith("{")]
    posts = [line for line in lines if line["message"].startswith("POST")]
    assert [line["status"] for line in posts] == [200] * ended["scored"]
    assert all(re.fullmatch(r"[0-9a-f]{32}", line["request_id"]) for line in posts)


@pytest.mark.parametrize(
    ("number", "times", "code"),
    [
        (signal.SIGKILL, 3, -signal.SIGKILL),
        pytest.param(signal.SIGTERM, 20, 0, marks=pytest.mark.slow),
    ],
)
def test_servers_that_end_under_load_lose_nothing(
    compass: Path, tmp_path: Path, number: signal.Signals, times: int, code: int
) -> None:
    """Each is replaced by one on the same port, with 12 requests in flight all the time; see `tests/kills`."""
    port, stopping, sent = free_port(), threading.Event(), count()
    flags = ["--embedder", "token-mean", "--token-mean-checkpoint", str(compass), "--drain-notice-s", "0.2"]

    def load() -> Iterator[Group]:
        while not stopping.is_set():
            yield from groups(next(sent), 1, POINTS)

    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(lambda: asyncio.run(post_all(f"http://127.0.0.1:{port}", load(), 120, 12)))
        try:
            for turn in range(times):
                with server(tmp_path / f"log-{turn}", *flags, port=port) as running:
                    while running.metric(SCORED) < 24:
                        assert not posting.done()
                        time.sleep(0.01)
                    running.process.send_signal(number)
                    assert running.process.wait(60) == code
            with server(tmp_path / "log", *flags, port=port):
                stopping.set()
                ended = posting.result(120)
        finally:
            stopping.set()
    assert ended == {"scored": next(sent)}
    assert ended["scored"] >= 24 * times


@pytest.mark.slow
def test_requests_that_a_shutdown_cuts_off_can_be_retried(tmp_path: Path) -> None:
    async def scenario(running: RunningServer) -> Counter[str]:
        posting = asyncio.create_task(post_all(running.url, groups(0, 3), 0, 3))
        await asyncio.sleep(1)
        running.process.send_signal(signal.SIGTERM)
        return await posting

    with server(tmp_path / "log", "--shutdown-timeout-s", "1") as running:
        running.worker.suspend()
        assert asyncio.run(scenario(running)) == {"not_ready": 3}
        assert running.process.wait(60) == 0


def test_a_slow_reader_blocks_no_other_caller(compass: Path) -> None:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    limits = Limits(write_timeout_s=2)
    texts = [rollout("7", *("east " * 200 for _ in range(8)))] * 100
    body = json.dumps({"groups": [group(texts, str(g)) for g in range(10)]}).encode()
    with running_here(settings, limits=limits) as url, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(60)
        slow.connect(_address(url))
        slow.sendall(head_of(body) + body)
        assert asyncio.run(post_all(url, groups(0, 5, POINTS), 0, 5)) == {"scored": 5}
        assert select.select([slow], [], [], 60)[0] == [slow], "the response has begun, and is not read"
        time.sleep(3)
        assert asyncio.run(post_all(url, groups(5, 5, POINTS), 0, 5)) == {"scored": 5}
        received = 0
        while part := slow.recv(2**16):
            received += len(part)
        assert 0 < received < len(body), "the server must have disconnected it"


def test_a_killed_server_leaves_no_worker(tmp_path: Path) -> None:
    with server(tmp_path / "log") as running:
        worker = running.worker
        running.process.kill()
        running.process.wait(10)
        worker.wait(30)


@pytest.mark.timeout(1200)
def test_soak(compass: Path) -> None:
    """Under load for `SOAK_S` seconds (default 5), everything is scored and memory does not grow."""
    seconds = float(os.environ.get("SOAK_S", "5"))
    flags = ["--embedder", "token-mean", "--token-mean-checkpoint", str(compass)]
    with server(compass / "log", *flags, "--cache-mib", "1", "--max-queue-texts", "2000") as running:
        process = psutil.Process(running.process.pid)
        scored = number = 0
        sizes: list[int] = []
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s or len(sizes) < 4:
            assert asyncio.run(post_all(running.url, groups(number, 64, POINTS), 60, 16)) == {"scored": 64}
            scored, number = scored + 64, number + 64
            sizes.append(process.memory_info().rss)
        assert running.metric(SCORED) == scored
        assert running.readiness()["queued_texts"] == 0
        half = len(sizes) // 2
        assert max(sizes[half:]) < max(sizes[:half]) + 32 * 2**20
