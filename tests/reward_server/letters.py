"""An embedder whose passes a test can hold up and read, and a batcher that runs on it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.backend import ThreadBackend
from ireasoner.reward_server.embedding.batching import EmbeddingBatcher


class Letters:
    """An embedder whose vectors contain the text's length; it waits for its gate and fails on marked texts."""

    name = identity = "letters"
    dimension = 2

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.tokens: list[list[list[int]]] = []
        self.tokenized: list[str] = []
        self.mixes_lengths = False
        self.gate = threading.Event()
        self.gate.set()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        if "untokenizable" in texts:
            raise ValueError("no tokens for that")
        self.tokenized += texts
        return [[ord(letter) for letter in text] for text in texts]

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        assert self.gate.wait(20)
        self.batches.append([len(tokens) for tokens in batch])
        self.tokens.append([list(tokens) for tokens in batch])
        if any(tokens[0] == ord("!") for tokens in batch):
            raise MemoryError("out of memory")
        rows = np.array([[len(tokens), 1] for tokens in batch], np.float32)
        rows[[tokens[0] == ord("?") for tokens in batch]] = np.nan
        return rows


@asynccontextmanager
async def batching(
    embedder: Letters, max_queue_texts: int = 1000, cache_bytes: int = 2**20, max_batch_tokens: int = 64
) -> AsyncIterator[EmbeddingBatcher]:
    backend = ThreadBackend(lambda: embedder)
    await backend.start()
    batcher = EmbeddingBatcher(
        backend,
        max_queue_texts=max_queue_texts,
        max_batch_tokens=max_batch_tokens,
        cache_bytes=cache_bytes,
    )
    try:
        async with asyncio.timeout(30):
            yield batcher
    finally:
        embedder.gate.set()
        await batcher.stop()
        await backend.stop()


async def embedded(
    batcher: EmbeddingBatcher, texts: Sequence[str], caller: Hashable = None
) -> NDArray[np.float32]:
    """The rows of a call; without `caller`, of a caller of its own."""
    return (await batcher.embed(texts, caller or object())).stacked(texts)


def lengths(rows: NDArray[np.float32]) -> list[int]:
    return [int(row[0]) for row in rows]
