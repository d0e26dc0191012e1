"""Runs a reward server on one core, and its callers on another."""

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

import httpx
import psutil

from benchmarks.server_process import Process, ready_server
from benchmarks.workload import Sample

JSON = {"content-type": "application/json"}
RECORDED_DEADLINE_S = 120.0
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CALLER_CORE = CORES[0], CORES[-1]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Runs this process on one core within the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Server:
    """A running server: its address and its processes."""

    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        self._process = psutil.Process(process.pid)

    def rss_mib(self) -> float:
        """Current memory of the server and its children."""
        processes = [self._process, *self._process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in processes)) / 2**20

    def embedded(self) -> int:
        """Number of texts embedded so far."""
        return self._metric("reward_batch_texts_sum")

    def wait_until_recorded(self) -> None:
        """Waits until the ledger's queue is empty; raises TimeoutError if that takes too long."""
        end_s = time.monotonic() + RECORDED_DEADLINE_S
        while self._metric("reward_ledger_queue_bytes"):
            if time.monotonic() > end_s:
                raise TimeoutError(f"the ledger's queue is not empty after {RECORDED_DEADLINE_S:g} s")
            time.sleep(0.1)

    def _metric(self, name: str) -> int:
        shown = httpx.get(f"{self.url}/metrics").text
        found = re.search(rf"^{name} (\S+)$", shown, re.MULTILINE)
        assert found is not None
        return int(float(found[1]))


class Peak:
    """The peak memory of a server within the block, read 50 times per second."""

    def __init__(self, running: Server) -> None:
        self._running = running
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, name="memory")
        self.mib = running.rss_mib()

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.mib = max(self.mib, self._running.rss_mib())


@contextmanager
def server(*flags: str) -> Iterator[Server]:
    """Runs a server and its worker on one core within the block."""
    flags = ("--port", "0", "--threads", "1", *flags)
    with ExitStack() as stack:
        with on_core(SERVER_CORE):  # a child process inherits its parent's core
            starting = ready_server(
                "ireasoner.reward_server", *flags, OMP_NUM_THREADS="1", REWARD_LOG_LEVEL="error"
            )
            process, url = stack.enter_context(starting)
        yield Server(process, url)


def body(groups: Sequence[Sequence[Sample]], detail: str = "full") -> bytes:
    """The body of a request for the Solver's rewards of `groups`."""
    sent = [
        {"id": str(g), "rollouts": [{"id": str(r), "text": each.text} for r, each in enumerate(group)]}
        for g, group in enumerate(groups)
    ]
    return json.dumps({"groups": sent, "config": "paper", "detail": detail}).encode()


async def post_all(url: str, bodies: Sequence[bytes], in_flight: int) -> tuple[float, list[float]]:
    """Posts the bodies, `in_flight` at a time; returns the seconds for all and for each."""
    rest = iter(bodies)
    latencies_s: list[float] = []
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)

    async def caller(http: httpx.AsyncClient) -> None:
        for each in rest:
            started_s = time.perf_counter()
            response = await http.post(f"{url}/score/solver", content=each, headers=JSON)
            latencies_s.append(time.perf_counter() - started_s)
            assert response.status_code == 200, response.text

    async with httpx.AsyncClient(timeout=300, limits=limits) as http:
        started_s = time.perf_counter()
        await asyncio.gather(*(caller(http) for _ in range(in_flight)))
        return time.perf_counter() - started_s, latencies_s


def load(url: str, bodies: Sequence[bytes], in_flight: int) -> tuple[float, list[float]]:
    """Runs `post_all` on the core of the callers."""
    with on_core(CALLER_CORE):
        return asyncio.run(post_all(url, bodies, in_flight))
