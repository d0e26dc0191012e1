"""Collects the rollouts of one prompt, which end one by one on one event loop, and scores them together."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ireasoner.clients.deadline import check_seconds
from ireasoner.clients.errors import for_other_callers
from ireasoner.clients.framework_context import Context
from ireasoner.clients.judged import Judged

Score = Callable[[Sequence[str], Context], Awaitable[list[Judged]]]
Judge = Callable[[str, Context], Awaitable[Judged]]


@dataclass(eq=False, slots=True)
class _Waiting:
    """The finished rollouts of one group, and the context that came with the first."""

    context: Context
    texts: list[str] = field(default_factory=list)
    results: list["asyncio.Future[Judged]"] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class SiblingGroups:
    """Groups by key, on one event loop.

    A group is scored once none of its rollouts is being sampled, or once `size` of them have ended; `size` keeps two
    groups of one prompt apart. `wait_s` seconds after its first rollout has ended, a group is scored as it is, so that
    a rollout that never ends does not hold up its siblings. Raises ValueError if `wait_s` has no end.
    """

    def __init__(self, score: Score, wait_s: float, size: int | None = None) -> None:
        check_seconds(wait_s=wait_s)
        self._score = score
        self._wait_s = wait_s
        self._size = size
        self._sampling: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, _Waiting] = {}
        self._scoring: set[asyncio.Task[None]] = set()

    @contextmanager
    def sampling(self, key: Hashable) -> Iterator[Judge]:
        """Registers a rollout while it is sampled; yields the function that scores its text, given the group's context.

        That function raises what scoring raises. A rollout that leaves the block without calling it, for example by an
        exception, is no longer waited for.
        """
        self._sampling[key] += 1
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._sampling[key] -= 1
                if self._sampling[key] == 0:
                    del self._sampling[key]
                    if key in self._waiting:
                        self._close(key)

        async def judge(text: str, context: Context) -> Judged:
            result = self._join(key, text, context)
            end()
            return await result

        try:
            yield judge
        finally:
            end()

    def _join(self, key: Hashable, text: str, context: Context) -> "asyncio.Future[Judged]":
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(key, _Waiting(context))
        if waiting.timer is None:
            waiting.timer = loop.call_later(self._wait_s, self._close, key)
        result: asyncio.Future[Judged] = loop.create_future()
        waiting.texts.append(text)
        waiting.results.append(result)
        if len(waiting.texts) == self._size:
            self._close(key)
        return result

    def _close(self, key: Hashable) -> None:
        waiting = self._waiting.pop(key)
        if waiting.timer is not None:
            waiting.timer.cancel()
        task = asyncio.create_task(self._answer(waiting), name="siblings")
        self._scoring.add(task)
        task.add_done_callback(self._scoring.discard)

    async def _answer(self, waiting: _Waiting) -> None:
        try:
            judged = await self._score(waiting.texts, waiting.context)
            pairs = list(zip(waiting.results, judged, strict=True))
        except BaseException as error:
            for result in waiting.results:
                if not result.done():
                    result.set_exception(for_other_callers(error))
            if not isinstance(error, Exception):
                raise
        else:
            for result, each in pairs:
                if not result.done():
                    result.set_result(each)
