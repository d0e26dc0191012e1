"""The one queue behind all requests: texts in, embeddings out. It knows no model and no reward.

A request's texts are looked up in the cache. New ones join the queue, once however many requests contain them. One
loop tokenises what has arrived. Another takes the oldest text of the caller whose turn it is, together with others of
the same number of tokens (of any number, if the embedder mixes lengths), first its own and then those of other callers,
as one forward pass. It keeps two passes at the backend, so that the backend never waits for the event loop. So a caller
with few texts does not wait for one with many, no caller's text is overtaken by its own later ones, batches have equal
lengths, and a text whose length nobody shares does not wait. A pass that fails fails the requests that have a text in
it and no others. All bookkeeping happens on the event loop, so it needs no locks.
"""

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.backend import Backend
from ireasoner.reward_server.embedding.fair_lines import FairLines
from ireasoner.reward_server.errors import (
    EmbeddingFailed,
    NotReady,
    Overloaded,
    RequestTooLarge,
    ServiceError,
)
from ireasoner.reward_server.observability.batching_metrics import BatchingMetrics
from ireasoner.reward_server.observability.request_context import request_id

log = logging.getLogger(__name__)

Row = NDArray[np.float32]
TOKENIZED_TOGETHER = 512
"""Most texts that are tokenised at once, which takes about 20 ms. Passes wait behind it."""
TOKENIZED_FIRST = 4_096
"""Texts that are tokenised before the next pass starts, if as many have arrived, so that passes are fuller."""
PASSES_AT_BACKEND = 2
ROWS_STEP = 8
"""A pass over more texts than this takes a multiple of it. OpenVINO prepares for every new batch shape, which takes 4
to 7% of a pass, and remembers some hundreds of shapes."""
MIXED_BATCHES = 4
"""Factor of a batch's tokens for an embedder that mixes lengths: it only looks rows up in a table."""
SHARE_OF_ROOM = 4
"""How many times as many texts as the queue has room left a caller may have in it: one alone fills four fifths, each of
two 4/9. So there is always room for one that comes (dynamic thresholds; Choudhury and Hahne, 1998)."""
LONGEST_RETRY_AFTER_S = 60
ENTRY_BYTES = 300
"""Memory of a cached embedding besides its numbers and its text (tracemalloc counts about 230)."""
_NOT_RUNNING = "the embedding queue has stopped: the server is shutting down, or its log says why"


@dataclass(frozen=True, slots=True)
class Pass:
    """The outcome of a forward pass of the embedder; `error` is None if it succeeded."""

    texts: int
    ended_at_s: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Rows:
    """The embeddings of one call, by text."""

    of_text: Mapping[str, Row]
    dimension: int

    def stacked(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The rows [len(texts), D] of `texts`, in the same order."""
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        return np.concatenate([self.of_text[text] for text in texts]).reshape(len(texts), -1)


@dataclass(eq=False, repr=False, slots=True)
class _Call:
    """One request's call for embeddings."""

    caller: Hashable
    missing: dict[str, "_Item"]
    rows: dict[str, Row]
    done: asyncio.Future[None]
    request_id: str

    def receive(self, text: str, row: Row) -> None:
        self.rows[text] = row
        del self.missing[text]
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: ServiceError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(eq=False, repr=False, slots=True)
class _Item:
    """One text in the queue, the calls that wait for it, and the lines in which it waits for the next stage."""

    text: str
    queued_at_s: float
    calls: list[_Call] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    lines: "FairLines[_Item] | None" = None

    @property
    def callers(self) -> Collection[Hashable]:
        if len(self.calls) == 1:  # most often
            return (self.calls[0].caller,)
        return {call.caller for call in self.calls}

    def join(self, call: _Call) -> None:
        if self.lines is not None and call.caller not in self.callers:
            self.lines.add(self, (call.caller,))
        self.calls.append(call)

    def leave(self, call: _Call) -> None:
        self.calls.remove(call)
        if self.lines is not None and call.caller not in self.callers:
            self.lines.remove(self, (call.caller,))

    def wait_in(self, lines: "FairLines[_Item]") -> None:
        self.lines = lines
        lines.add(self, self.callers)


class EmbeddingCache:
    """Embeddings by text, at most about `max_bytes`; the least recently used are dropped first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._rows: OrderedDict[str, Row] = OrderedDict()

    def __contains__(self, text: str) -> bool:
        return text in self._rows

    def find(self, texts: Iterable[str]) -> tuple[dict[str, Row], list[str]]:
        """The embeddings of the cached texts, and the texts that are not cached."""
        known, rest = {}, []
        for text in texts:
            if (row := self._rows.get(text)) is None:
                rest.append(text)
            else:
                known[text] = row
                self._rows.move_to_end(text)
        return known, rest

    def put(self, text: str, row: Row) -> None:
        """Adds the embedding of a text that is not in the cache."""
        self._rows[text] = row
        self._bytes += _entry_bytes(text, row)
        while self._bytes > self._max_bytes:
            self._bytes -= _entry_bytes(*self._rows.popitem(last=False))


def _entry_bytes(text: str, row: Row) -> int:
    return ENTRY_BYTES + 4 * len(text) + row.nbytes


class EmbeddingBatcher:
    """Embeds texts for any number of callers on the event loop that it was created on.

    The last bits of an embedding may depend on the other texts of its pass. As all of them have the same length, each
    component stays within 1e-6.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        max_queue_texts: int,
        max_batch_tokens: int,
        cache_bytes: int,
        metrics: BatchingMetrics | None = None,
    ) -> None:
        self._backend = backend
        self._max_queue_texts = max_queue_texts
        self._max_batch_tokens = max_batch_tokens * (MIXED_BATCHES if backend.mixes_lengths else 1)
        self._cache = EmbeddingCache(cache_bytes)
        self._metrics = metrics or BatchingMetrics()
        self._queued: dict[str, _Item] = {}
        self._calls: set[_Call] = set()
        self._arrived: FairLines[_Item] = FairLines(lambda item: 0, lambda item: 1)
        self._tokenized: FairLines[_Item] = FairLines(self._kind, lambda item: max(1, len(item.tokens)))
        self._arrival = asyncio.Event()
        self._passable = asyncio.Event()
        self._room = asyncio.Semaphore(PASSES_AT_BACKEND)
        self._passes: set[asyncio.Task[None]] = set()
        self._texts_per_s = 0.0
        self._last_pass_ended_s = 0.0
        self._loops = [
            asyncio.create_task(self._tokenize_arrivals(), name="tokenising"),
            asyncio.create_task(self._start_passes(), name="batching"),
        ]
        for loop in self._loops:
            loop.add_done_callback(self._ended)
        self.last_pass: Pass | None = None

    @property
    def is_running(self) -> bool:
        """Whether it accepts texts; false after `stop`, or if a bug ended a loop."""
        return not any(loop.done() for loop in self._loops)

    @property
    def backend(self) -> Backend:
        """The backend that embeds the texts."""
        return self._backend

    @property
    def queued_texts(self) -> int:
        """Distinct texts that are waiting or being embedded."""
        return len(self._queued)

    async def embed(self, texts: Iterable[str], caller: Hashable) -> Rows:
        """The unit row [D] of each distinct text; zero if the text has no direction.

        Callers take turns; calls with equal `caller` are one caller's. If a call ends early, its texts leave the queue
        unless another call waits for them.

        Raises RequestTooLarge, Overloaded (nothing was queued), EmbeddingFailed or NotReady.
        """
        call = self._admit(dict.fromkeys(texts), caller)
        try:
            if call.missing:
                await call.done
        finally:
            self._give_up(call)
        return Rows(call.rows, self._backend.dimension)

    async def probe(self) -> None:
        """Runs one forward pass that bypasses the cache, so that `last_pass` reflects the embedder's present state."""
        item = _Item("probe", time.monotonic())
        done = asyncio.get_running_loop().create_future()
        call = _Call(self, {item.text: item}, {}, done, request_id.get())
        item.join(call)
        await self._tokenize([item])
        if not call.done.done():
            await self._embed_batch([item])
        await call.done

    async def stop(self) -> None:
        """Ends the loops; calls that are still waiting raise NotReady."""
        for task in (*self._loops, *self._passes):
            task.cancel()
        await asyncio.wait([*self._loops, *self._passes])

    def _admit(self, texts: Iterable[str], caller: Hashable) -> _Call:
        """Queues the texts that are neither cached nor queued: all of them or none."""
        if not self.is_running:
            raise NotReady(_NOT_RUNNING)
        rows, missing = self._cache.find(texts)
        new = [text for text in missing if text not in self._queued]
        if new:
            self._check_room(len(new), caller)
        self._metrics.looked_up(hits=len(rows), misses=len(missing))
        now_s = time.monotonic()
        call = _Call(caller, {}, rows, asyncio.get_running_loop().create_future(), request_id.get())
        for text in missing:
            if (item := self._queued.get(text)) is None:
                self._queued[text] = item = _Item(text, now_s, lines=self._arrived)
            item.join(call)
            call.missing[text] = item
        self._calls.add(call)
        if new:
            self._arrival.set()
        return call

    def _give_up(self, call: _Call) -> None:
        """Takes what the call still waits for out of the queue, unless another call waits for it."""
        self._calls.discard(call)
        for item in call.missing.values():
            item.leave(call)
            if item.lines is not None:  # else a batch of the backend has it, and others may still join it
                self._drop_unless_wanted(item)

    def _drop_unless_wanted(self, item: _Item) -> None:
        if not item.calls and self._queued.get(item.text) is item:
            del self._queued[item.text]
            self._metrics.dropped()

    def _check_room(self, count: int, caller: Hashable) -> None:
        """Checks a caller's share of the queue; raises RequestTooLarge if the texts alone exceed it, or Overloaded."""
        alone = self._share(0)
        if count > alone:
            raise RequestTooLarge(f"{count} distinct steps; the queue takes {alone} of one caller")
        queued = len(self._queued)
        if queued + count <= alone:
            return
        own = len({text for call in self._calls if call.caller == caller for text in call.missing})
        if (too_many := own + count - self._share(queued - own)) > 0:
            raise Overloaded(
                f"{queued} steps are queued, {own} of them for this caller; with {count} more it would have "
                f"{too_many} too many",
                retry_after_s=self._seconds_to_embed(too_many),
            )

    def _share(self, of_others: int) -> int:
        """Texts that a caller may have in the queue, besides those of others: `SHARE_OF_ROOM` times the room left."""
        return SHARE_OF_ROOM * (self._max_queue_texts - of_others) // (SHARE_OF_ROOM + 1)

    def _seconds_to_embed(self, texts: int) -> int:
        """The time that `texts` texts take at the current rate, at least 1 s."""
        if not self._texts_per_s:
            return 1
        return min(max(1, math.ceil(texts / self._texts_per_s)), LONGEST_RETRY_AFTER_S)

    async def _tokenize_arrivals(self) -> None:
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            while self._arrived:
                items = self._take(self._arrived, TOKENIZED_TOGETHER)
                await self._tokenize(items)
                for item in items:
                    if item.calls and self._queued.get(item.text) is item:
                        item.wait_in(self._tokenized)
                    self._drop_unless_wanted(item)
                self._passable.set()

    async def _start_passes(self) -> None:
        while True:
            await self._passable.wait()
            self._passable.clear()
            while self._tokenized and (not self._arrived or len(self._tokenized) >= TOKENIZED_FIRST):
                await self._room.acquire()
                if not self._tokenized:  # its callers have left meanwhile
                    self._room.release()
                    break
                step = 1 if self._backend.mixes_lengths else ROWS_STEP
                batch = self._take(self._tokenized, self._max_batch_tokens, step)
                running = asyncio.create_task(self._embed_batch(batch), name="pass")
                self._passes.add(running)
                running.add_done_callback(self._pass_ended)

    def _kind(self, item: _Item) -> int:
        """Texts of equal kinds can be one batch. If lengths are mixed, only texts without tokens are kept apart."""
        return min(len(item.tokens), 1) if self._backend.mixes_lengths else len(item.tokens)

    @staticmethod
    def _take(lines: FairLines[_Item], most: int, step: int = 1) -> list[_Item]:
        items = lines.take(most, step)
        for item in items:
            item.lines = None
        return items

    def _pass_ended(self, task: asyncio.Task[None]) -> None:
        self._passes.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()):
            log.critical("a bug ended a forward pass", exc_info=error)
            for loop in self._loops:
                loop.cancel()

    def _leave(self, item: _Item) -> None:
        """Removes the item from the queue if it is there: a call may have queued the same text as a probe."""
        if self._queued.get(item.text) is item:
            del self._queued[item.text]

    async def _tokenize(self, items: list[_Item]) -> None:
        """Sets every item's tokens. If that fails, items are tokenised one by one, to fail only those at fault."""
        if not items:
            return
        try:
            tokens = await self._backend.tokenize([item.text for item in items])
        except Exception as error:  # noqa: BLE001 - whatever an embedder raises is its callers' EmbeddingFailed
            if len(items) == 1:
                self._fail(items, error)
                return
            for item in items:
                await self._tokenize([item])
        else:
            for item, ids in zip(items, tokens, strict=True):
                item.tokens = ids

    async def _embed_batch(self, batch: list[_Item]) -> None:
        started_s = time.monotonic()
        try:
            rows = await self._rows([item.tokens for item in batch])
        except Exception as error:  # noqa: BLE001 - whatever an embedder raises is its callers' EmbeddingFailed
            self._fail(batch, error)
            return
        self._passed(batch, started_s)
        for item, row in zip(batch, rows, strict=True):
            own = row.copy()  # a view would keep the whole batch in the cache
            self._leave(item)
            if own.any() and item.text not in self._cache:  # a zero row may be computable next time
                self._cache.put(item.text, own)
            for call in item.calls:
                call.receive(item.text, own)

    async def _rows(self, tokens: list[list[int]]) -> NDArray[np.float32]:
        """The rows of one batch; zero for texts without tokens and for rows that are not finite."""
        if not tokens[0]:
            return np.zeros((len(tokens), self._backend.dimension), np.float32)
        rows = await self._backend.embed(tokens)
        if rows.shape != (len(tokens), self._backend.dimension):
            raise ValueError(f"the embedder returned an array {rows.shape} for {len(tokens)} texts")
        rows[~np.isfinite(rows).all(axis=1)] = 0.0
        return rows

    def _passed(self, batch: list[_Item], started_s: float) -> None:
        """Records a successful pass and updates the rate."""
        now_s = time.monotonic()
        busy_s = now_s - max(started_s, self._last_pass_ended_s)
        rate = len(batch) / max(busy_s, 1e-6)
        self._texts_per_s = 0.8 * self._texts_per_s + 0.2 * rate if self._texts_per_s else rate
        self._last_pass_ended_s = now_s
        self.last_pass = Pass(len(batch), now_s, None)
        self._metrics.passed(len(batch), busy_s, started_s - min(item.queued_at_s for item in batch))

    def _fail(self, items: list[_Item], error: Exception) -> None:
        waiting = sorted({call.request_id for item in items for call in item.calls})
        log.error(
            "a forward pass over %d texts of the requests %s failed", len(items), waiting, exc_info=error
        )
        reason = f"{type(error).__name__}: {error}"
        self.last_pass = Pass(len(items), time.monotonic(), reason)
        self._metrics.failed()
        for item in items:
            self._leave(item)
            for call in item.calls:
                call.fail(
                    EmbeddingFailed(f"embedding this request's steps failed: {reason}", retry_after_s=1)
                )

    def _ended(self, loop: asyncio.Task[None]) -> None:
        """Fails every waiting call, however the loop ended."""
        if not loop.cancelled() and (error := loop.exception()):
            log.critical("the %s loop died", loop.get_name(), exc_info=error)
        _end(self._queued.values())


def _end(items: Iterable[_Item]) -> None:
    for item in items:
        for call in item.calls:
            call.fail(NotReady(_NOT_RUNNING))
