"""Where an embedder runs: in a thread of the server, or in a child process (`worker_backend`)."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec
from ireasoner.reward_server.embedding.load import load_embedder

R = TypeVar("R")


class Backend(Protocol):
    """An embedder as the event loop uses it; calls run one at a time, in the order in which they were made.

    `tokenize` and `embed` raise what the embedder raises; see `Embedder` for their arguments and results.
    """

    @property
    def name(self) -> str:
        """Name of the embedder."""

    @property
    def identity(self) -> str:
        """A hash of everything that its vectors depend on."""

    @property
    def dimension(self) -> int:
        """Length D of its vectors."""

    @property
    def mixes_lengths(self) -> bool:
        """Whether a batch may hold texts of different lengths."""

    @property
    def fault(self) -> str | None:
        """Why it cannot embed at present; None if it can."""

    @property
    def restarts(self) -> int:
        """How often it was restarted."""

    async def start(self) -> None:
        """Loads the embedder; raises what the loader raises."""

    async def stop(self) -> None:
        """Ends it; calls in progress fail."""

    async def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""

    async def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows for token ids, which have one length unless `mixes_lengths`."""


class ThreadBackend:
    """Runs an embedder that cannot crash or hang, in a thread."""

    fault: str | None = None
    restarts = 0

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._executor = ThreadPoolExecutor(1, "embedder")
        self._embedder: Embedder | None = None

    @classmethod
    def of(cls, spec: EmbedderSpec) -> "ThreadBackend":
        """The backend for the embedder that `spec` names."""
        return cls(lambda: load_embedder(spec))

    @property
    def name(self) -> str:
        return self._loaded.name

    @property
    def identity(self) -> str:
        return self._loaded.identity

    @property
    def dimension(self) -> int:
        return self._loaded.dimension

    @property
    def mixes_lengths(self) -> bool:
        return self._loaded.mixes_lengths

    async def start(self) -> None:
        self._embedder = await self._in_thread(self._load)

    async def stop(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        return await self._in_thread(lambda: self._loaded.tokenize(texts))

    async def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        return await self._in_thread(lambda: self._loaded.embed(batch))

    @property
    def _loaded(self) -> Embedder:
        assert self._embedder is not None, "start comes first"
        return self._embedder

    async def _in_thread(self, function: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)
