"""What the app runs on: the embedder's backend, the batcher, the scorer and readiness, from start to stop."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

from ireasoner.reward_server import wire
from ireasoner.reward_server.child_process import ChildRefused
from ireasoner.reward_server.embedding.backend import Backend
from ireasoner.reward_server.embedding.batching import EmbeddingBatcher, Pass
from ireasoner.reward_server.embedding.worker_backend import backend_of
from ireasoner.reward_server.errors import NotReady, ServiceError
from ireasoner.reward_server.observability.metrics import Metrics
from ireasoner.reward_server.scoring.fingerprint import all_versions
from ireasoner.reward_server.scoring.registry import ConfigRegistry
from ireasoner.reward_server.scoring.scorer import Scorer
from ireasoner.reward_server.settings import RewardServerSettings

log = logging.getLogger(__name__)

_LOADING = "the embedder is loading"
PROBE_DEADLINE_S = 5.0
"""Seconds that `/readyz` waits for a forward pass that it tries itself."""
REDIS_TIMEOUT_S = 0.05
"""Seconds that a forward pass waits for Redis, before it and after it: nearby, it answers within a few
milliseconds."""


class Engine:
    """Loads and warms the embedder in the background, while the server already answers its probes.

    If that fails, `on_failure` is called once with the error; the server cannot score then. `backend` is one that
    already loads the embedder of the settings; None: the engine makes one.
    """

    def __init__(
        self,
        settings: RewardServerSettings,
        metrics: Metrics,
        on_failure: Callable[[Exception], None],
        backend: Backend | None = None,
    ) -> None:
        self.configs = ConfigRegistry(settings.configs_folder)
        self._settings = settings
        self._metrics = metrics
        self._on_failure = on_failure
        self._backend: Backend | None = backend
        self._batcher: EmbeddingBatcher | None = None
        self._scorer: Scorer | None = None
        self._starting: asyncio.Task[None] | None = None
        self.is_draining = False
        self._reason: str | None = _LOADING

    def start(self) -> None:
        """Starts to load the embedder; returns at once."""
        self._starting = asyncio.create_task(self._start(), name="starting")

    def drain(self) -> None:
        """Reports not ready from now on; requests are still scored."""
        self.is_draining = True

    async def stop(self) -> None:
        """Stops the scorer, the batcher and the backend; requests that still wait get NotReady."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._scorer is not None:
            await self._scorer.stop()
        if self._batcher is not None:
            await self._batcher.stop()
        if self._backend is not None:
            await self._backend.stop()

    @property
    def scorer(self) -> Scorer:
        """Scores requests; raises NotReady until the embedder is warm."""
        if self._scorer is None:
            raise NotReady(_LOADING, retry_after_s=1)
        return self._scorer

    @property
    def batcher(self) -> EmbeddingBatcher:
        """Embeds steps; raises NotReady until the embedder is warm."""
        if self._batcher is None or self._scorer is None:
            raise NotReady(_LOADING, retry_after_s=1)
        return self._batcher

    async def readiness(self) -> wire.Readiness:
        """Whether requests can be scored now; after a failed forward pass, another one is tried to find out.

        A change is logged, once.
        """
        readiness = await self._readiness()
        if readiness.reason != self._reason:
            self._reason = readiness.reason
            if readiness.ready:
                log.info("ready")
            else:
                log.warning("not ready: %s", readiness.reason)
        return readiness

    async def _readiness(self) -> wire.Readiness:
        backend, batcher = self._backend, self._batcher
        if backend is None or batcher is None or self._scorer is None:
            return wire.Readiness(
                ready=False,
                reason=_LOADING,
                embedder=None,
                last_pass=None,
                queued_texts=0,
                worker_restarts=0,
            )
        last = batcher.last_pass
        if last is not None and last.error is not None and backend.fault is None:
            with suppress(ServiceError, TimeoutError):  # the reason is in `last_pass`
                async with asyncio.timeout(PROBE_DEADLINE_S):
                    await batcher.probe()
            last = batcher.last_pass
        if self.is_draining:
            reason: str | None = "the server is shutting down"
        elif not batcher.is_running:
            reason = "the batcher has stopped"
        else:
            reason = backend.fault or (last.error if last is not None else "no forward pass was made")
        return wire.Readiness(
            ready=reason is None,
            reason=reason,
            embedder=backend.name,
            last_pass=None if last is None else _describe(last),
            queued_texts=batcher.queued_texts,
            worker_restarts=backend.restarts,
        )

    async def _start(self) -> None:
        settings = self._settings
        backend = self._backend = self._backend or backend_of(settings.embedder_spec)
        try:
            if settings.redis_url is not None:
                from ireasoner.reward_server.embedding.redis_cache import SharedCacheBackend

                self._backend = backend = SharedCacheBackend(
                    backend, settings.redis_url, REDIS_TIMEOUT_S, self._metrics.batching
                )
            await backend.start()
            self._batcher = EmbeddingBatcher(
                backend,
                max_queue_texts=settings.max_queue_texts,
                max_batch_tokens=settings.max_batch_tokens,
                cache_bytes=settings.cache_mib * 2**20,
                metrics=self._metrics.batching,
            )
            await self._batcher.probe()
        except Exception as error:  # whatever the loader raises ends the server
            is_said = isinstance(error, ChildRefused)  # by the child, whose error is its message
            log.error(  # noqa: TRY400
                "the embedder %s could not be loaded", settings.embedder, exc_info=None if is_said else error
            )
            self._on_failure(error)
            return
        self._metrics.watch(self._batcher, backend)
        self._metrics.identify(
            version=version("ireasoner"),
            wire_version=wire.VERSION,
            embedder=backend.name,
            embedder_identity=backend.identity,
            **all_versions(),
        )
        self._scorer = Scorer(self._batcher, self.configs)
        log.info("the embedder %s is ready", backend.name)


def _describe(last: Pass) -> wire.LastPass:
    age_s = round(time.monotonic() - last.ended_at_s, 3)
    return wire.LastPass(ok=last.error is None, age_s=age_s, texts=last.texts, error=last.error)
