"""The server's side of the embedding worker: starts it, asks it, and starts another when it has died."""

import asyncio
import logging
import os
import sys
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.embedding import frames
from ireasoner.reward_server.embedding.embedder import EmbedderSpec

log = logging.getLogger(__name__)

ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
"""Has glibc keep what a pass frees for the next one. Else the kernel clears the same pages again for every
layer, which took an eighth of a bfloat16 pass."""
COMMAND = (sys.executable, "-m", "ireasoner.reward_server.embedding.worker")
LOAD_DEADLINE_S = 600.0
"""For a model that has to be fetched first."""
STOP_DEADLINE_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 30.0


class WorkerDied(Exception):
    """The worker ended before it had answered."""


class WorkerRefused(Exception):
    """The worker lives and answered with an error."""


class _Worker:
    """One child process. Answers come in the order of the questions."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._asked: deque[asyncio.Future[tuple[frames.Header, bytes]]] = deque()
        self._reading = asyncio.create_task(self._read(), name="worker answers")
        self._killed = False
        self.pid = process.pid

    @classmethod
    async def spawn(cls) -> "_Worker":
        pipe = asyncio.subprocess.PIPE
        environment = {**ALLOCATOR, **os.environ}
        return cls(await asyncio.create_subprocess_exec(*COMMAND, stdin=pipe, stdout=pipe, env=environment))

    async def ask(
        self, header: frames.Header, payload: bytes, deadline_s: float
    ) -> tuple[frames.Header, bytes]:
        """One question; a worker that does not answer within `deadline_s` seconds hangs, and is killed.

        The time for questions asked before is counted in, of which there are few.
        """
        assert self._process.stdin is not None
        if self._reading.done():
            raise WorkerDied(self._how_it_ended())
        answered = asyncio.get_running_loop().create_future()
        self._asked.append(answered)
        self._process.stdin.write(frames.pack(header, payload))
        try:
            async with asyncio.timeout(deadline_s):
                answer, numbers = await asyncio.shield(answered)
        except TimeoutError:
            log.error(  # noqa: TRY400
                "the worker %d did not answer within %g s and is killed", self.pid, deadline_s
            )
            self.kill()
            raise WorkerDied(f"the worker hung for {deadline_s:g} s and was killed") from None
        if "error" in answer:
            raise WorkerRefused(answer["error"])
        return answer, numbers

    @property
    def is_ending(self) -> bool:
        """Whether it answers nothing any more."""
        return self._killed or self._reading.done()

    def kill(self) -> None:
        """Ends it at once."""
        self._killed = True
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> str:
        """Waits for its end; tells how it ended."""
        await asyncio.wait([self._reading])
        await self._process.wait()
        return self._how_it_ended()

    async def stop(self) -> None:
        """Lets it end in order, and kills it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while True:
                lengths = await stream.readexactly(frames.LENGTHS.size)
                header_bytes, payload_bytes = frames.LENGTHS.unpack(lengths)
                header = frames.parse_header(await stream.readexactly(header_bytes))
                payload = await stream.readexactly(payload_bytes)
                answered = self._asked.popleft()
                if not answered.done():
                    answered.set_result((header, payload))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.kill()
            await self._process.wait()
        finally:
            for waiting in self._asked:
                if not waiting.done():
                    waiting.set_exception(WorkerDied(self._how_it_ended()))
                    waiting.exception()  # whoever asked may have gone
            self._asked.clear()

    def _how_it_ended(self) -> str:
        status = self._process.returncode
        how = (
            "is ending"
            if status is None
            else f"ended with {status}"
            if status >= 0
            else f"got signal {-status}"
        )
        return f"the embedding worker {self.pid} {how}"


class WorkerBackend:
    """An embedder in a child process, which is started again, with growing pauses, whenever it dies.

    It takes batches of equal length only. What it was asked when it died fails with WorkerDied, but
    tokenising, which is asked again; what it is asked while there is none waits.
    """

    mixes_lengths = False

    def __init__(self, spec: EmbedderSpec, pass_deadline_s: float) -> None:
        self._spec = spec
        self._pass_deadline_s = pass_deadline_s
        self._worker: _Worker | None = None
        self._is_up = asyncio.Event()
        self._supervising: asyncio.Task[None] | None = None
        self.name = self.identity = ""
        self.dimension = 0
        self.restarts = 0
        self.fault: str | None = "the embedder is being loaded"

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._worker.pid if self._worker is not None else None

    async def start(self) -> None:
        """Starts the first worker; raises WorkerDied or WorkerRefused if it cannot load the embedder."""
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
            header, payload = await self._ask(question, b"")
        except WorkerDied:
            header, payload = await self._ask(question, b"")
        ids: list[int] = np.frombuffer(payload, "<i4").tolist()
        return [ids[start:end] for start, end in pairwise(accumulate(header["lengths"], initial=0))]

    async def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        ids = np.asarray(batch, "<i4")
        header, payload = await self._ask({"op": "embed", "count": len(batch)}, ids.tobytes())
        return np.frombuffer(payload, "<f4").reshape(header["count"], -1).copy()

    async def _ask(self, header: frames.Header, payload: bytes) -> tuple[frames.Header, bytes]:
        if self._worker is not None and self._worker.is_ending:
            self._is_up.clear()  # supervision, which sets it again, may not have seen it yet
        await self._is_up.wait()
        assert self._worker is not None
        return await self._worker.ask(header, payload, self._pass_deadline_s)

    async def _load(self) -> _Worker:
        self._worker = worker = await _Worker.spawn()
        question = {"op": "load", "settings": self._spec.model_dump(mode="json")}
        try:
            header, _ = await worker.ask(question, b"", LOAD_DEADLINE_S)
        except BaseException:
            worker.kill()
            raise
        if self.identity not in ("", header["identity"]):
            worker.kill()
            raise WorkerRefused("the model is another than it was when the server started")
        self.name, self.identity, self.dimension = header["name"], header["identity"], header["dimension"]
        self.fault = None
        self._is_up.set()
        return worker

    async def _supervise(self, worker: _Worker) -> None:
        while True:
            self.fault = await worker.ended()
            self._is_up.clear()
            log.error("%s; another one is started", self.fault)
            worker = await self._load_again()
            log.info("the embedding worker %d has taken over", worker.pid)

    async def _load_again(self) -> _Worker:
        pause_s = FIRST_PAUSE_S
        while True:
            self.restarts += 1
            try:
                return await self._load()
            except (WorkerDied, WorkerRefused, OSError) as error:
                self.fault = str(error)
                log.error("the embedding worker could not be started: %s", error)  # noqa: TRY400
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
