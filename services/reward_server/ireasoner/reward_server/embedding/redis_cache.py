"""Embeddings that the replicas of a server share, in a Redis that may be unreachable at any time."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ireasoner.reward_server.embedding.backend import Backend
from ireasoner.reward_server.observability.batching_metrics import BatchingMetrics

log = logging.getLogger(__name__)

LIFETIME_S = 7 * 24 * 3600
"""How long an embedding is kept."""
PAUSE_S = 5.0
"""How long Redis is not used after a failure, so that an outage does not cost every pass a time-out."""


class SharedCacheBackend:
    """A backend that looks embeddings up in Redis first, and writes there what it had to compute.

    The key is a hash of the embedder's identity and the token ids, so replicas with different embedders share nothing.
    If Redis is unreachable, slow or corrupt, the lookup counts as a miss, never as an error.

    Args:
        backend: Computes the embeddings that Redis does not have.
        url: Address of Redis: redis://, rediss:// or unix://.
        timeout_s: Limit of one lookup and of one write, including connecting.
        metrics: Counts the lookups.

    Raises:
        ValueError: The URL is malformed.
    """

    def __init__(self, backend: Backend, url: str, timeout_s: float, metrics: BatchingMetrics) -> None:
        self._backend = backend
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), health_check_interval=0)
        self._unused_until_s = 0.0
        self._is_unreachable = False

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def identity(self) -> str:
        return self._backend.identity

    @property
    def dimension(self) -> int:
        return self._backend.dimension

    @property
    def mixes_lengths(self) -> bool:
        return self._backend.mixes_lengths

    @property
    def fault(self) -> str | None:
        return self._backend.fault

    @property
    def restarts(self) -> int:
        return self._backend.restarts

    async def start(self) -> None:
        await self._backend.start()

    async def stop(self) -> None:
        await self._redis.aclose()
        await self._backend.stop()

    async def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return await self._backend.tokenize(texts)

    async def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        keys = [self._key(ids) for ids in batch]
        known = await self._look_up(keys)
        missing = [index for index, row in enumerate(known) if row is None]
        self._metrics.shared(hits=len(batch) - len(missing), misses=len(missing))
        rows = np.zeros((len(batch), self.dimension), np.float32)
        for index, row in enumerate(known):
            if row is not None:
                rows[index] = row
        if missing:
            computed = await self._backend.embed([batch[index] for index in missing])
            await self._keep([keys[index] for index in missing], computed)
            rows[missing] = computed
        return rows

    def _key(self, ids: Sequence[int]) -> bytes:
        digest = hashlib.sha256(self.identity.encode() + b"\0" + np.asarray(ids, "<i4").tobytes())
        return b"ireasoner:embedding:" + digest.digest()

    async def _look_up(self, keys: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        """The row of each key, None for unknown keys."""
        nothing: list[NDArray[np.float32] | None] = [None] * len(keys)
        if time.monotonic() < self._unused_until_s:
            return nothing
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._redis.mget(keys)
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return nothing
        if self._is_unreachable:
            log.info("the shared embedding cache is reachable again")
            self._is_unreachable = False
        return [self._row(value) for value in found]

    async def _keep(self, keys: Sequence[bytes], rows: NDArray[np.float32]) -> None:
        if time.monotonic() < self._unused_until_s:
            return
        try:
            async with asyncio.timeout(self._timeout_s), self._redis.pipeline(transaction=False) as pipeline:
                for key, row in zip(keys, rows, strict=True):
                    if np.isfinite(row).all():
                        pipeline.set(key, row.astype("<f4").tobytes(), ex=LIFETIME_S)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)

    def _row(self, value: object) -> NDArray[np.float32] | None:
        """The embedding in a value; None if the value is not one of ours."""
        if not isinstance(value, bytes) or len(value) != 4 * self.dimension:
            return None
        row = np.frombuffer(value, "<f4")
        return row if np.isfinite(row).all() else None

    def _lost(self, error: Exception) -> None:
        self._unused_until_s = time.monotonic() + PAUSE_S
        if not self._is_unreachable:
            self._is_unreachable = True
            log.warning("the shared embedding cache is unreachable: %s: %s", type(error).__name__, error)
