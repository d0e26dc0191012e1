"""The server's side of the embedding worker: starts it, and starts another one when it dies."""

import asyncio
import logging
import os
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.child_process import ChildDied, ChildProcess, ChildRefused, Frame, Header
from ireasoner.reward_server.embedding.embedder import EmbedderSpec

log = logging.getLogger(__name__)

ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Makes glibc keep the memory that a pass frees for the next one. Otherwise the kernel clears the same pages for
every layer, which took an eighth of the time of a bfloat16 pass."""
LOAD_DEADLINE_S = 600.0
"""Long enough for a model that has to be downloaded first."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0


class WorkerBackend:
    """An embedder in a child process, which is restarted, with growing pauses, whenever it dies.

    It takes batches of equal length only. Embedding that was in progress when the worker died fails with
    ChildDied; tokenising is retried once. Calls made while there is no worker wait for the next one.
    """

    mixes_lengths = False

    def __init__(self, spec: EmbedderSpec, pass_deadline_s: float) -> None:
        self._spec = spec
        self._pass_deadline_s = pass_deadline_s
        self._worker: ChildProcess | None = None
        self._is_up = asyncio.Event()
        self._supervising: asyncio.Task[None] | None = None
        self.name = self.identity = ""
        self.dimension = 0
        self.restarts = 0
        self.fault: str | None = "the embedder is being loaded"

    async def start(self) -> None:
        """Starts the first worker; raises ChildDied or ChildRefused if it cannot load the embedder."""
        worker = await self._load()
        self._supervising = asyncio.create_task(self._supervise(worker), name="worker supervision")

    async def stop(self) -> None:
        """Ends the worker and its supervision."""
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.wait([self._supervising])
        if self._worker is not None:
            await self._worker.stop()

    async def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        question = {"op": "tokenize", "texts": list(texts)}
        try:
            header, payload = await self._ask(question)
        except ChildDied:
            header, payload = await self._ask(question)
        ids: list[int] = np.frombuffer(payload, "<i4").tolist()
        return [ids[start:end] for start, end in pairwise(accumulate(header["lengths"], initial=0))]

    async def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        ids = np.asarray(batch, "<i4")
        header, payload = await self._ask({"op": "embed", "count": len(batch)}, ids.tobytes())
        return np.frombuffer(payload, "<f4").reshape(header["count"], -1).copy()

    async def _ask(self, header: Header, payload: bytes = b"") -> Frame:
        if self._worker is not None and not self._worker.is_running:
            self._is_up.clear()  # supervision, which sets it again, may not have noticed yet
        await self._is_up.wait()
        assert self._worker is not None
        return await self._worker.ask(header, payload, deadline_s=self._pass_deadline_s)

    async def _load(self) -> ChildProcess:
        worker = await ChildProcess.start(
            "embedding worker",
            "ireasoner.reward_server.embedding.worker",
            {"op": "load", "spec": self._spec.model_dump(mode="json")},
            LOAD_DEADLINE_S,
            {**ALLOCATOR, **os.environ},
        )
        if self.identity not in ("", worker.loaded["identity"]):
            await worker.stop()
            raise ChildRefused("the model is not the one that the server started with")
        self._worker = worker
        self.name, self.identity = worker.loaded["name"], worker.loaded["identity"]
        self.dimension = worker.loaded["dimension"]
        self.fault = None
        self._is_up.set()
        return worker

    async def _supervise(self, worker: ChildProcess) -> None:
        while True:
            self.fault = await worker.ended()
            self._is_up.clear()
            log.error("%s; another one is started", self.fault)
            worker = await self._load_again()
            log.info("the embedding worker %d has taken over", worker.pid)

    async def _load_again(self) -> ChildProcess:
        pause_s = FIRST_PAUSE_S
        while True:
            self.restarts += 1
            try:
                return await self._load()
            except (ChildDied, ChildRefused, OSError) as error:
                self.fault = str(error)
                log.error("the embedding worker could not be started: %s", error)  # noqa: TRY400
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
