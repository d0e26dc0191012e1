"""Cohorts: callers that each bring one rollout of a prompt, and are answered together.

Frameworks that post one sample a call say neither which calls belong together nor that a call is a retry.
So callers with equal keys stand in one queue, and the first N of it are a cohort. A caller whose connection
ends leaves the queue; if the same text comes back within the retry window it gets its old place, or the
reward that was computed meanwhile: a retry is never a new member, though two equal rollouts are two. Short
of its deadline a caller is answered with whoever is there. All of it happens on one event loop, in one
process: nothing is locked, and nothing is shared.
"""

import asyncio
import time
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Protocol, TypeVar

from services.reward_server.errors import DeadlineExceeded, NotReady, Overloaded, ServiceError

RETRY_WINDOW_S = 60.0
"""How long the place of a caller that has gone is kept; slime waits at most 31 s before it tries again."""
SCORING_SHARE = 0.25
SCORING_MOST_S = 5.0
"""The end of a caller's time that is kept for scoring: this share of it, but no more than these seconds."""

Answer = TypeVar("Answer")


class Key(Protocol):
    """What callers of one cohort have in common; hashable, with the number N of rollouts of its prompt."""

    @property
    def group_size(self) -> int:
        """N, at least 1."""
        ...


K = TypeVar("K", bound=Key)


@dataclass(eq=False, slots=True)
class _Cohort(Generic[Answer]):
    """Members that are being scored together."""

    members: list["_Member[Answer]"]
    scoring: asyncio.Task[None] | None = None


@dataclass(eq=False, slots=True)
class _Member(Generic[Answer]):
    """One rollout. `place` orders a queue; `cohort` is None until the rollout is being scored."""

    text: str
    place: int
    deadline_s: float
    answer: asyncio.Future[Answer]
    cohort: _Cohort[Answer] | None = None
    present: bool = True


@dataclass(slots=True)
class CohortCounts:
    """What `/metrics` tells: totals since the start. A cohort that failed was full or partial before."""

    full: int = 0
    partial: int = 0
    failed: int = 0
    returned: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class CohortLimits:
    """Callers that may wait at once, and characters of their texts; as much is kept of those that have gone."""

    max_callers: int
    max_characters: int


@dataclass(eq=False, slots=True)
class _Departed(Generic[Answer]):
    """Members whose caller has gone, by key and text, in the order in which they went."""

    size: int = 0
    until_s: OrderedDict[_Member[Answer], tuple[object, float]] = field(default_factory=OrderedDict)
    by_text: dict[tuple[object, str], deque[_Member[Answer]]] = field(default_factory=dict)

    def add(self, key: object, member: _Member[Answer], until_s: float) -> None:
        self.size += len(member.text)
        self.until_s[member] = (key, until_s)
        self.by_text.setdefault((key, member.text), deque()).append(member)

    def take(self, key: object, text: str) -> _Member[Answer] | None:
        members = self.by_text.get((key, text))
        if not members:
            return None
        member = members[0]
        self._remove(member)
        return member

    def discard(self, member: _Member[Answer]) -> None:
        if member in self.until_s:
            self._remove(member)

    def expire(self, now_s: float, limits: "CohortLimits") -> None:
        while self.until_s:
            member, (_, until_s) = next(iter(self.until_s.items()))
            within = len(self.until_s) <= limits.max_callers and self.size <= limits.max_characters
            if until_s > now_s and within:
                return
            self._remove(member)

    def _remove(self, member: _Member[Answer]) -> None:
        key, _ = self.until_s.pop(member)
        self.size -= len(member.text)
        members = self.by_text[key, member.text]
        members.remove(member)
        if not members:
            del self.by_text[key, member.text]


class Cohorts(Generic[K, Answer]):
    """Gathers callers into cohorts and gives each its answer, or an error, by its deadline.

    `score(key, texts, until_s)` scores the rollouts of one cohort, in order; `until_s`, on the monotonic
    clock, is when the last of its callers gives up. It is called once a cohort.
    """

    def __init__(
        self, score: Callable[[K, Sequence[str], float], Awaitable[Sequence[Answer]]], limits: CohortLimits
    ) -> None:
        self._score = score
        self._limits = limits
        self._queues: dict[K, list[_Member[Answer]]] = {}
        self._departed: _Departed[Answer] = _Departed()
        self._cohorts: set[_Cohort[Answer]] = set()
        self._places = count()
        self._characters = 0
        self._callers = 0
        self._closed = False
        self.counts = CohortCounts()

    @property
    def half_full(self) -> int:
        """Cohorts that wait for more rollouts."""
        return len(self._queues)

    @property
    def callers(self) -> int:
        """Callers that wait, for more rollouts or for their scores."""
        return self._callers

    async def reward(self, key: K, text: str, deadline_s: float) -> Answer:
        """The answer to one rollout, within `deadline_s` seconds.

        A caller that is cancelled keeps its place for `RETRY_WINDOW_S`. Raises Overloaded, NotReady, what
        scoring raises, or DeadlineExceeded if scoring took too long.
        """
        now_s = time.monotonic()
        self._departed.expire(now_s, self._limits)
        size = len(text)
        self._admit(size)
        member = self._enter(key, text, now_s + deadline_s)
        collecting_s = deadline_s - min(SCORING_SHARE * deadline_s, SCORING_MOST_S)
        timer = asyncio.get_running_loop().call_later(collecting_s, self._close_short, key, member)
        self._callers += 1
        self._characters += size
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline_s):
                return await asyncio.shield(member.answer)
        except TimeoutError:
            raise DeadlineExceeded(f"not scored within {deadline_s} s", retry_after_s=1) from None
        finally:
            timer.cancel()
            self._callers -= 1
            self._characters -= size
            if not member.answer.done():
                self._leave(key, member)

    def close(self) -> None:
        """Answers everyone who waits with NotReady, so that a stop need not wait for deadlines."""
        self._closed = True
        for members in self._queues.values():
            for member in members:
                member.answer.set_exception(NotReady("the server is shutting down", retry_after_s=1))
        self._queues.clear()
        for cohort in list(self._cohorts):
            if cohort.scoring is not None:
                cohort.scoring.cancel()

    def _admit(self, size: int) -> None:
        if self._closed:
            raise NotReady("the server is shutting down", retry_after_s=1)
        if self._callers >= self._limits.max_callers:
            self.counts.refused += 1
            raise Overloaded(f"{self._callers} callers wait for their cohorts already", retry_after_s=1)
        if self._characters + size > self._limits.max_characters:
            self.counts.refused += 1
            raise Overloaded(f"waiting rollouts hold {self._characters} characters already", retry_after_s=1)

    def _enter(self, key: K, text: str, deadline_s: float) -> _Member[Answer]:
        member = self._departed.take(key, text)
        if member is None:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            member = _Member(text, next(self._places), deadline_s, answer)
        else:
            self.counts.returned += 1
            member.deadline_s, member.present = deadline_s, True
        if member.cohort is not None:
            return member
        queue = self._queues.setdefault(key, [])
        insort(queue, member, key=lambda each: each.place)
        if len(queue) >= key.group_size:
            self.counts.full += 1
            self._form(key)
        return member

    def _close_short(self, key: K, member: _Member[Answer]) -> None:
        if member in self._queues.get(key, ()):
            self.counts.partial += 1
            self._form(key)

    def _form(self, key: K) -> None:
        """Makes the whole queue, which never holds more than N, a cohort."""
        members = self._queues.pop(key)
        cohort: _Cohort[Answer] = _Cohort(members)
        for member in members:
            member.cohort = cohort
        self._cohorts.add(cohort)
        cohort.scoring = asyncio.create_task(self._score_cohort(key, cohort), name="cohort")

    async def _score_cohort(self, key: K, cohort: _Cohort[Answer]) -> None:
        members = cohort.members
        until_s = max(member.deadline_s for member in members)
        try:
            answers = await self._score(key, [member.text for member in members], until_s)
            for member, answer in zip(members, answers, strict=True):
                member.answer.set_result(answer)
        except asyncio.CancelledError:
            self._fail(members, NotReady("the server is shutting down", retry_after_s=1))
        except ServiceError as error:
            self._fail(members, error)
        except Exception as error:
            self._fail(members, error)
            raise
        finally:
            self._cohorts.discard(cohort)

    def _fail(self, members: list[_Member[Answer]], error: Exception) -> None:
        self.counts.failed += 1
        for member in members:
            self._departed.discard(member)
            if member.present and not member.answer.done():
                member.answer.set_exception(error)

    def _leave(self, key: K, member: _Member[Answer]) -> None:
        """Keeps the place of a member whose caller has gone, unless its whole cohort has: nobody will be back."""
        member.present = False
        self._departed.add(key, member, time.monotonic() + RETRY_WINDOW_S)
        if member.cohort is None:
            queue = self._queues.get(key, [])
            if member in queue:
                queue.remove(member)
                if not queue:
                    del self._queues[key]
        elif member.cohort.scoring is not None and not any(each.present for each in member.cohort.members):
            member.cohort.scoring.cancel()
            for each in member.cohort.members:
                self._departed.discard(each)
