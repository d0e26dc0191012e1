"""The server's side of the embedding worker: starts it, and starts another one when it dies."""

import asyncio
import logging
import os
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.child_process import ChildDied, ChildProcess, ChildRefused, Frame, Header
from ireasoner.reward_server.embedding.backend import Backend, ThreadBackend
from ireasoner.reward_server.embedding.embedder import EmbedderSpec
from ireasoner.reward_server.embedding.load import EXTRA, INSTALL_EXTRA

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
PASS_TIMEOUT_S = 120.0
"""Seconds after which an embedding worker that does not answer is killed: with the default embedder a pass takes
less than one."""
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
        self._launched: asyncio.Task[ChildProcess] | None = None
        self._supervising: asyncio.Task[None] | None = None
        self.name = self.identity = ""
        self.dimension = 0
        self.restarts = 0
        self.fault: str | None = "the embedder is being loaded"

    async def launch(self) -> None:
        """Starts the first worker, and has it load the embedder while the caller goes on; `start` waits for it."""
        worker = await self._spawn()
        self._launched = asyncio.create_task(self._take(worker), name="loading the embedder")
        await asyncio.sleep(0)  # until the task has sent its question

    async def start(self) -> None:
        """Waits for the first worker; raises ChildDied or ChildRefused if it cannot load the embedder."""
        if self._launched is None:
            await self.launch()
        assert self._launched is not None
        worker = await self._launched
        self._supervising = asyncio.create_task(self._supervise(worker), name="worker supervision")

    async def stop(self) -> None:
        """Ends the worker and its supervision."""
        running = [task for task in (self._launched, self._supervising) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)  # what failed was reported by `start`
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

    async def _spawn(self) -> ChildProcess:
        module = "ireasoner.reward_server.embedding.worker"
        return await ChildProcess.spawn("embedding worker", module, {**ALLOCATOR, **os.environ})

    async def _take(self, worker: ChildProcess) -> ChildProcess:
        """Has the worker load the embedder, and sends it all questions from then on."""
        await worker.load({"op": "load", "spec": self._spec.written()}, LOAD_DEADLINE_S)
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
                return await self._take(await self._spawn())
            except (ChildDied, ChildRefused, OSError) as error:
                self.fault = str(error)
                log.error("the embedding worker could not be started: %s", error)  # noqa: TRY400
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def backend_of(spec: EmbedderSpec) -> Backend:
    """The backend of an embedder, which has not started yet; warns if it leaves an accelerator unused."""
    if (unused := spec.unused_accelerator) is not None:
        log.warning(
            "the embedder runs on the CPU, although there is %s: to use it, install the extra %s (%s); "
            "--device cpu silences this",
            unused,
            EXTRA,
            INSTALL_EXTRA,
        )
    return WorkerBackend(spec, PASS_TIMEOUT_S) if spec.needs_a_process else ThreadBackend.of(spec)


async def launched_backend(spec: EmbedderSpec) -> Backend:
    """The backend of an embedder, which loads already if it has a process of its own."""
    backend = backend_of(spec)
    if isinstance(backend, WorkerBackend):
        await backend.launch()
    return backend
