"""What the app runs on, from start to stop: the embedder's thread, the batcher, the scorer, readiness."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from services.reward_server import wire
from services.reward_server.batching import EmbeddingBatcher, Pass
from services.reward_server.configs import ConfigRegistry
from services.reward_server.embedder import load_embedder
from services.reward_server.errors import NotReady, ServiceError
from services.reward_server.scorer import Scorer
from services.reward_server.settings import RewardServerSettings

log = logging.getLogger(__name__)


class Engine:
    """Loads and warms the embedder in the background, so that the server can say meanwhile that it lives.

    `on_failure` is called, once, with the error if that fails; the server is then of no use.
    """

    def __init__(self, settings: RewardServerSettings, on_failure: Callable[[Exception], None]) -> None:
        self.configs = ConfigRegistry(settings.configs_folder)
        self._settings = settings
        self._on_failure = on_failure
        self._executor = ThreadPoolExecutor(1, "embedder")
        self._batcher: EmbeddingBatcher | None = None
        self._scorer: Scorer | None = None
        self._starting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to load; returns at once."""
        self._starting = asyncio.create_task(self._start(), name="starting")

    async def stop(self) -> None:
        """Ends the batcher; requests that are still waiting get NotReady."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._scorer is not None:
            await self._scorer.stop()
        if self._batcher is not None:
            await self._batcher.stop()
        self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def scorer(self) -> Scorer:
        """What scores requests; raises NotReady until the embedder is warm."""
        if self._scorer is None:
            raise NotReady("the embedder is being loaded", retry_after_s=1)
        return self._scorer

    async def readiness(self) -> wire.Readiness:
        """Whether requests can be scored now. If the last pass failed, another is tried to find out."""
        if self._batcher is None or self._scorer is None:
            return wire.Readiness(
                ready=False, reason="the embedder is being loaded", embedder=None, last_pass=None
            )
        last = self._batcher.last_pass
        if last is not None and last.error is not None:
            try:
                await self._batcher.probe()
            except ServiceError:
                log.warning("a probe found the embedder still failing")
            last = self._batcher.last_pass
        if not self._batcher.is_running:
            reason: str | None = "the batcher has ended"
        else:
            reason = last.error if last is not None else "no pass was made"
        return wire.Readiness(
            ready=reason is None,
            reason=reason,
            embedder=self._batcher.embedder.name,
            last_pass=None if last is None else _describe(last),
        )

    async def _start(self) -> None:
        settings = self._settings
        started_s = time.monotonic()
        try:
            embedder = await asyncio.get_running_loop().run_in_executor(
                self._executor, load_embedder, settings
            )
            self._batcher = EmbeddingBatcher(
                embedder,
                self._executor,
                max_queue_texts=settings.max_queue_texts,
                max_batch_tokens=settings.max_batch_tokens,
                cache_bytes=settings.cache_mib * 2**20,
            )
            await self._batcher.probe()
        except Exception as error:  # whatever a loader raises ends the server
            log.exception("the embedder %s could not be loaded", settings.embedder)
            self._on_failure(error)
            return
        self._scorer = Scorer(self._batcher, self.configs)
        log.info("ready: %s, loaded in %.1f s", embedder.name, time.monotonic() - started_s)


def _describe(last: Pass) -> wire.LastPass:
    age_s = round(time.monotonic() - last.ended_at_s, 3)
    return wire.LastPass(ok=last.error is None, age_s=age_s, texts=last.texts, error=last.error)
