"""What a server keeps takes no more memory than the estimates that bound it, and the operators' page adds them up."""

import gc
import json
import re
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from ireasoner.reward_server.api.admission import PAGE_BYTES
from ireasoner.reward_server.api.connection import CONNECTION_BYTES, ConnectionLimits
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.cohorts.cohort_memory import KEPT_BYTES
from ireasoner.reward_server.settings import RewardServerSettings
from tests.attack.sockets import connect, status_of
from tests.reward_server.running import running

COUNT = 40
SETTLE_S = 0.5
GET = "GET /livez HTTP/1.1\r\nhost: x\r\n"
POST = "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{}\r\n{}"
MANY = "ab: cd\r\n" * 400
LARGE = f"a: {'a' * 50_000}\r\n"
LONG = "east " * 400


def waiting(number: int, headers: str = "", text: str = "r") -> str:
    """A call that waits for the rest of its cohort."""
    body = json.dumps({"prompt": f"{number}", "response": text})
    return POST.format("/cohort/remote?group_size=2", len(body), headers, body)


KINDS: dict[str, tuple[Callable[[int], str], bool]] = {
    "nothing": (lambda _: "", False),
    "half a head": (lambda _: GET + "a: " + "a" * 1_000, False),
    "an answered request": (lambda _: GET + "\r\n", True),
    "an answered request with a long header": (lambda _: GET + LARGE + "\r\n", True),
    "a refused head": (lambda _: GET + LARGE * 2 + "\r\n", True),
    "a refused body": (lambda _: POST.format("/nowhere", 70_000, "", "x" * 60_000), True),
    "a request in progress": (waiting, False),
    "a request in progress with a long header": (lambda number: waiting(number, LARGE), False),
    "a request in progress with many headers": (lambda number: waiting(number, MANY), False),
    "a request in progress with a long text": (lambda number: waiting(number, "", LONG), False),
}
"""What each connection sends, and whether an answer is waited for."""


@pytest.fixture(scope="module")
def url(compass: Path) -> Iterator[str]:
    """A server in this process, with nothing cached."""
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass, cache_mib=0)
    with running(settings) as started:
        yield started


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Yields a function that returns the bytes that were allocated since, and are still held."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    def grown() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before

    try:
        yield grown
    finally:
        tracemalloc.stop()


def gauge(url: str, name: str) -> float:
    """A metric without labels."""
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{url}/metrics", timeout=60).text, re.MULTILINE)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_takes_no_more_than_its_estimate(url: str, kind: str) -> None:
    sent, is_answered = KINDS[kind]
    gauge(url, "reward_held_bytes")  # what a first call allocates for good
    with traced() as grown, ExitStack() as stack:
        connections: list[socket.socket] = []
        for number in range(COUNT):
            connections.append(stack.enter_context(connect(url)))
            connections[-1].sendall(sent(number).encode())
            if is_answered:
                status_of(connections[-1])
        time.sleep(SETTLE_S)
        held = gauge(url, "reward_held_bytes")
        assert ("in progress" in kind) == (held > 0)
        taken = grown()
    assert taken <= held + COUNT * CONNECTION_BYTES, (
        f"{taken / COUNT:.0f} bytes each, {held / COUNT:.0f} counted"
    )


@pytest.mark.parametrize("page", ["/docs", "/openapi.json"])
def test_a_page_that_is_not_read_takes_no_more_than_its_estimate(url: str, page: str) -> None:
    """Its text, and a copy of it in the transport."""
    assert 2 * len(httpx.get(f"{url}{page}", timeout=60).content) < PAGE_BYTES


@pytest.mark.parametrize("size", [1, 5])
def test_a_kept_rollout_takes_no_more_than_its_estimate(url: str, size: int) -> None:
    with httpx.Client(base_url=url, timeout=60) as http, traced() as grown:
        before = gauge(url, "reward_cohort_kept")
        for number in range(2 * COUNT // size):
            texts = [f"{number} {member} {LONG}" for member in range(size)]
            body = {"query": [f"q {size}{text}" for text in texts], "prompts": [f"q {size}"] * size}
            answered = http.post(f"/cohort/openrlhf?group_size={size}&run={number}", json=body)
            assert answered.status_code == 200, answered.text
        kept = gauge(url, "reward_cohort_kept") - before
        assert kept == 2 * COUNT // size * size
        taken = grown()
    assert taken <= kept * KEPT_BYTES, f"{taken / kept:.0f} bytes each"


def test_incomplete_heads_are_bounded_together(compass: Path) -> None:
    """A caller without a token could otherwise hold 64 KiB by each connection."""
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    limits = Limits(connections=ConnectionLimits(max_heads_bytes=100_000))
    head = (GET + "a: " + "a" * 30_000).encode()
    with running(settings, limits=limits) as url, ExitStack() as stack:
        connections = [stack.enter_context(connect(url)) for _ in range(6)]
        for each in connections:
            each.sendall(head)
            time.sleep(0.05)
        assert [status_of(each) for each in connections[:3]] == ["closed"] * 3, "the oldest"
        for each in connections[3:]:
            each.sendall(b"\r\n\r\n")
            assert status_of(each) == "200"
        for _ in range(20):  # complete heads count no longer
            connections[-1].sendall(head + b"\r\n\r\n")
            assert status_of(connections[-1]) == "200"


def test_the_page_adds_up_what_the_server_keeps() -> None:
    page = Path("docs/operators.md").read_text()
    limits, mib = Limits(), 2**20
    kept = 2 * limits.cohorts.max_kept
    connections = limits.connections.max_connections
    for part, count, each in (
        ("rollouts kept for retries", kept, KEPT_BYTES),
        ("open connections", connections, CONNECTION_BYTES),
        ("heads of requests that are incomplete", limits.connections.max_heads_bytes, 1),
    ):
        [row] = re.findall(rf"^\| {part}[^|]*\| (\d+) MiB \|([^|]*)\|$", page, re.MULTILINE)
        assert abs(int(row[0]) - count * each / mib) < 16, part
        assert each == 1 or f"{count:,} of {each // 1000} kB" in row[1]
