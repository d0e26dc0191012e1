"""The one batcher behind all requests: texts in, embeddings out. It knows no model and no reward.

A request's texts are looked up in the cache; those that are new join the queue, once however many requests
hold them. One loop takes what is queued, has it tokenised, sorts it by length, cuts it into batches of equal
length and has each embedded, in one thread. A batch that fails fails the requests that have a text in it and
no others. All bookkeeping is done on the event loop, so nothing here is locked.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.reward_server.embedder import Embedder
from services.reward_server.errors import EmbeddingFailed, NotReady, Overloaded, RequestTooLarge, ServiceError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
Row = NDArray[np.float32]
WINDOW_TEXTS = 4_096
"""Most texts that are sorted together: enough to fill batches, few enough to wait behind."""
_NOT_RUNNING = "no texts are embedded any more: the server is shutting down, or its log says why"
ENTRY_BYTES = 300
"""What a cached embedding takes besides its numbers and its text (tracemalloc counts about 230)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """How the embedder's most recent forward pass went."""

    texts: int
    ended_at_s: float
    error: str | None


@dataclass(eq=False, slots=True)
class _Call:
    """One request's call for embeddings."""

    missing: int
    rows: dict[str, Row]
    done: asyncio.Future[None]

    def receive(self, text: str, row: Row) -> None:
        self.rows[text] = row
        self.missing -= 1
        if self.missing == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: ServiceError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False, slots=True)
class _Item:
    """One text in the queue, and the calls that wait for it."""

    text: str
    calls: list[_Call] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    @property
    def abandoned(self) -> bool:
        return all(call.done.done() for call in self.calls)


class EmbeddingCache:
    """Embeddings by text, the least recently used dropped first; holds at most about `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._rows: OrderedDict[str, Row] = OrderedDict()

    def get(self, text: str) -> Row | None:
        """The text's embedding, if it is known."""
        row = self._rows.get(text)
        if row is not None:
            self._rows.move_to_end(text)
        return row

    def put(self, text: str, row: Row) -> None:
        """Keeps the embedding of a text that is not in the cache."""
        self._rows[text] = row
        self._bytes += _entry_bytes(text, row)
        while self._bytes > self._max_bytes:
            self._bytes -= _entry_bytes(*self._rows.popitem(last=False))


def _entry_bytes(text: str, row: Row) -> int:
    return ENTRY_BYTES + 4 * len(text) + row.nbytes


class EmbeddingBatcher:
    """Embeds texts for any number of callers on one event loop, which is the one that it was made on.

    `executor` must have one thread. A text's embedding may differ in its last bits with the batch that it
    is in; batches of equal length keep that within 1e-6 of each component.
    """

    def __init__(
        self,
        embedder: Embedder,
        executor: Executor,
        *,
        max_queue_texts: int,
        max_batch_tokens: int,
        cache_bytes: int,
    ) -> None:
        self._embedder = embedder
        self._executor = executor
        self._max_queue_texts = max_queue_texts
        self._max_batch_tokens = max_batch_tokens
        self._cache = EmbeddingCache(cache_bytes)
        self._waiting: dict[str, _Item] = {}
        self._running: dict[str, _Item] = {}
        self._woken = asyncio.Event()
        self._loop = asyncio.create_task(self._run(), name="batching")
        self._loop.add_done_callback(self._ended)
        self.last_pass: Pass | None = None

    @property
    def is_running(self) -> bool:
        """Whether texts are being taken; false after `stop`, or after a bug has ended the loop."""
        return not self._loop.done()

    @property
    def embedder(self) -> Embedder:
        """What embeds the texts."""
        return self._embedder

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows [len(texts), D] in the order of `texts`; a row is zero if the text has no direction.

        Raises RequestTooLarge, Overloaded (nothing was queued), EmbeddingFailed or NotReady. A cancelled
        call's texts are dropped from the queue unless others wait for them.
        """
        call = self._admit(texts)
        if call.missing:
            await call.done
        if not texts:
            return np.zeros((0, self._embedder.dimension), np.float32)
        return np.stack([call.rows[text] for text in texts])

    async def probe(self) -> None:
        """Runs one forward pass past the cache, so that `last_pass` tells of the embedder as it is now."""
        item = _Item("probe")
        call = _Call(1, {}, asyncio.get_running_loop().create_future())
        item.calls.append(call)
        await self._tokenize([item])
        if not call.done.done():
            await self._embed_batch([item])
        await call.done

    async def stop(self) -> None:
        """Ends the loop; whoever still waits gets NotReady."""
        self._loop.cancel()
        await asyncio.wait([self._loop])

    def _admit(self, texts: Sequence[str]) -> _Call:
        """Queues what is neither known nor queued, all of it or nothing."""
        if not self.is_running:
            raise NotReady(_NOT_RUNNING)
        call = _Call(0, {}, asyncio.get_running_loop().create_future())
        missing = []
        for text in dict.fromkeys(texts):
            row = self._cache.get(text)
            if row is None:
                missing.append(text)
            else:
                call.rows[text] = row
        new = [text for text in missing if text not in self._waiting and text not in self._running]
        self._check_room(len(new))
        self._waiting.update((text, _Item(text)) for text in new)
        for text in missing:
            (self._waiting.get(text) or self._running[text]).calls.append(call)
        call.missing = len(missing)
        if new:
            self._woken.set()
        return call

    def _check_room(self, count: int) -> None:
        if count > self._max_queue_texts:
            raise RequestTooLarge(f"{count} distinct steps; the queue holds {self._max_queue_texts}")
        queued = len(self._waiting) + len(self._running)
        if queued + count > self._max_queue_texts:
            raise Overloaded(
                f"{queued} steps are queued and {count} more do not fit into {self._max_queue_texts}",
                retry_after_s=1,
            )

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                await self._embed_window(self._take_window())

    def _take_window(self) -> list[_Item]:
        """The next texts in the order of their arrival; those that nobody waits for any more are dropped."""
        window: list[_Item] = []
        while self._waiting and len(window) < WINDOW_TEXTS:
            item = self._waiting.pop(next(iter(self._waiting)))
            if not item.abandoned:
                window.append(item)
                self._running[item.text] = item
        return window

    async def _embed_window(self, window: list[_Item]) -> None:
        try:
            await self._tokenize(window)
            for batch in self._batches(self._wanted(window)):
                if wanted := self._wanted(batch):
                    await self._embed_batch(wanted)
        finally:
            unfinished = [item for item in window if self._running.pop(item.text, None)]
            _end(unfinished)

    def _wanted(self, items: list[_Item]) -> list[_Item]:
        """The items that somebody waits for; the others leave, so that a later call queues them anew."""
        for item in items:
            if item.abandoned:
                self._running.pop(item.text, None)
        return [item for item in items if not item.abandoned]

    async def _tokenize(self, items: list[_Item]) -> None:
        """Gives every item its tokens; if that fails it is tried one by one, to find the culprits."""
        try:
            tokens = await self._in_thread(self._embedder.tokenize, [item.text for item in items])
        except Exception as error:  # noqa: BLE001 - whatever an embedder raises is its callers' EmbeddingFailed
            if len(items) == 1:
                self._fail(items, error)
                return
            for item in items:
                await self._tokenize([item])
        else:
            for item, ids in zip(items, tokens, strict=True):
                item.tokens = ids

    def _batches(self, items: Iterable[_Item]) -> Iterator[list[_Item]]:
        """Batches of items with equally many tokens, at most `max_batch_tokens` in each."""
        for length, same in groupby(sorted(items, key=_length), key=_length):
            rest = list(same)
            size = max(1, self._max_batch_tokens // max(1, length))
            for start in range(0, len(rest), size):
                yield rest[start : start + size]

    async def _embed_batch(self, batch: list[_Item]) -> None:
        try:
            rows = await self._in_thread(self._rows, [item.tokens for item in batch])
        except Exception as error:  # noqa: BLE001 - whatever an embedder raises is its callers' EmbeddingFailed
            self._fail(batch, error)
            return
        self.last_pass = Pass(len(batch), time.monotonic(), None)
        for item, row in zip(batch, rows, strict=True):
            own = row.copy()  # a view would keep the whole batch in the cache
            self._running.pop(item.text, None)
            if self._cache.get(item.text) is None:
                self._cache.put(item.text, own)
            for call in item.calls:
                call.receive(item.text, own)

    def _rows(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """One batch's rows. A text without tokens has none, and a row that is not finite is none."""
        if not tokens[0]:
            return np.zeros((len(tokens), self._embedder.dimension), np.float32)
        rows = self._embedder.embed(tokens)
        if rows.shape != (len(tokens), self._embedder.dimension):
            raise ValueError(f"the embedder gave {rows.shape} for {len(tokens)} texts")
        rows[~np.isfinite(rows).all(axis=1)] = 0.0
        return rows

    def _fail(self, items: list[_Item], error: Exception) -> None:
        log.error("a pass over %d texts failed", len(items), exc_info=error)
        reason = f"{type(error).__name__}: {error}"
        self.last_pass = Pass(len(items), time.monotonic(), reason)
        for item in items:
            self._running.pop(item.text, None)
            for call in item.calls:
                call.fail(EmbeddingFailed(f"the pass over this request's steps failed: {reason}"))

    async def _in_thread(self, function: Callable[[T], R], argument: T) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, argument)

    def _ended(self, loop: asyncio.Task[None]) -> None:
        """Tells everybody who waits, however the loop ended."""
        if not loop.cancelled() and (error := loop.exception()):
            log.critical("the batching loop died", exc_info=error)
        _end(self._waiting.values())


def _end(items: Iterable[_Item]) -> None:
    for item in items:
        for call in item.calls:
            call.fail(NotReady(_NOT_RUNNING))


def _length(item: _Item) -> int:
    return len(item.tokens)
