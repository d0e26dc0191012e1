"""Cohorts: callers that each bring one rollout of a prompt, and are answered together.

Frameworks that post one sample a call say neither which calls belong together nor that a call is a retry.
So callers with equal keys stand in one queue, and the first N of it are a cohort. Short of its deadline a
caller is answered with whoever is there.

A retry is never a new member, though two equal rollouts are two. It is known by its text, and by what became
of the same text before:

- Its caller left while it waited: the retry takes its old place in the queue.
- Its caller left after its cohort was formed: the call may be the retry, or a rollout of the next cohort. It
  waits to see. If N others come, or too few by its time, it is the retry, and gets what its old cohort gave
  it; if exactly it was missing from a cohort, it is new.
- Its answer was sent: the call is new. Only where none but such calls stand in the queue when time is up, they
  are the retries of answers that were lost on the way, and get these.

So nobody is scored with a group that is not its own unless a retry and a whole new cohort of the same prompt
cross each other with an equal text. All of it happens on one event loop, in one process: nothing is locked,
and nothing is shared.
"""

import asyncio
import time
from bisect import insort
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Generic, Protocol, TypeVar

from ireasoner.reward_server.cohorts.cohort_memory import CohortLimits, CohortMemory
from ireasoner.reward_server.errors import DeadlineExceeded, NotReady, Overloaded, ServiceError
from ireasoner.reward_server.observability.cohort_counts import CohortCounts

RETRY_WINDOW_S = 60.0
"""How long a retry may take to come; slime waits at most 31 s before it tries again."""
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
    failed: bool = False


@dataclass(eq=False, slots=True)
class _Member(Generic[Answer]):
    """One rollout. `place` orders a queue; `cohort` is None until the rollout is being scored.

    `present` is false once its caller was seen to go. `earlier` is a member of a cohort, of the same text,
    whose retry this may be; `came_back` tells that the caller of that one was seen to go.
    """

    text: str
    place: int
    deadline_s: float
    answer: asyncio.Future[Answer]
    earlier: "_Member[Answer] | None" = None
    came_back: bool = False
    cohort: _Cohort[Answer] | None = None
    present: bool = True

    @property
    def may_be_retry(self) -> bool:
        """Whether it may be the retry of a member of a cohort; a cohort that failed has nothing to give."""
        return self.earlier is not None and self.earlier.cohort is not None and not self.earlier.cohort.failed

    @property
    def counts(self) -> bool:
        """Whether it makes its queue whole: a rollout that is new more likely than not."""
        return not (self.came_back and self.may_be_retry)


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
        self._gone: CohortMemory[_Member[Answer]] = CohortMemory(RETRY_WINDOW_S, limits)
        self._sent: CohortMemory[_Member[Answer]] = CohortMemory(RETRY_WINDOW_S, limits)
        self._cohorts: dict[_Cohort[Answer], K] = {}
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

    @contextmanager
    def visit(self, key: K, text: str, deadline_s: float) -> Iterator[Callable[[], Awaitable[Answer]]]:
        """One call: gives the function that waits for its answer, which comes within `deadline_s` seconds.

        A visit that ends with an exception, say because its caller has gone, is one of which the answer did
        not arrive: its retry may come within `RETRY_WINDOW_S`. Raises Overloaded or NotReady; the function
        raises what scoring raises, or DeadlineExceeded if scoring took too long.
        """
        size = len(text)
        self._admit(size)
        member = self._enter(key, text, time.monotonic() + deadline_s)
        collecting_s = deadline_s - min(SCORING_SHARE * deadline_s, SCORING_MOST_S)
        timer = asyncio.get_running_loop().call_later(collecting_s, self._end_waiting, key, member)
        self._callers += 1
        self._characters += size
        try:
            yield partial(_wait, member, deadline_s)
            self._sent.add(key, member)
        except BaseException:
            self._leave(key, member)
            raise
        finally:
            timer.cancel()
            self._callers -= 1
            self._characters -= size

    def close(self) -> None:
        """Answers everyone who waits with NotReady, so that a stop need not wait for deadlines."""
        self._closed = True
        for members in self._queues.values():
            for member in members:
                member.answer.set_exception(NotReady("the server is shutting down", retry_after_s=1))
        self._queues.clear()
        for cohort, key in list(self._cohorts.items()):
            self._cancel(key, cohort)

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
        gone = self._gone.take(key, text)
        if gone is not None and gone.cohort is None:
            member = gone
            member.deadline_s, member.present = deadline_s, True
            self.counts.returned += 1
        else:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            earlier = gone or self._sent.take(key, text)
            member = _Member(text, next(self._places), deadline_s, answer, earlier, gone is not None)
        insort(self._queues.setdefault(key, []), member, key=lambda each: each.place)
        self._form_if_whole(key)
        return member

    def _form_if_whole(self, key: K) -> None:
        """Makes a cohort of N members that count; then those that have waited with them are retries."""
        queue = self._queues.get(key, [])
        new = [each for each in queue if each.counts]
        if len(new) >= key.group_size:
            retries = [each for each in queue if not each.counts]
            self._form(key, new[: key.group_size])
            for each in retries:
                self._take_old_place(key, each)

    def _end_waiting(self, key: K, member: _Member[Answer]) -> None:
        """Decides what `member`, whose time is up, is answered with.

        Fewer than N count, or they were a cohort already: where some do, `member` is one of those that make N.
        """
        queue = self._queues.get(key, [])
        if member not in queue:
            return
        if len(queue) >= key.group_size and any(each.counts for each in queue):
            by_claim = sorted(queue, key=lambda each: (not each.counts, each is not member))
            chosen = by_claim[: key.group_size]
            self._form(key, [each for each in queue if each in chosen])
        elif not member.counts or all(each.may_be_retry for each in queue):
            self._take_old_place(key, member)
        else:
            self._form(key, [each for each in queue if each.counts])

    def _take_old_place(self, key: K, member: _Member[Answer]) -> None:
        """Makes `member` what it is a retry of: one of a cohort that was formed before."""
        self._dequeue(key, member)
        self.counts.returned += 1
        earlier = member.earlier
        assert earlier is not None
        assert earlier.cohort is not None
        member.cohort, member.earlier = earlier.cohort, None
        member.cohort.members[member.cohort.members.index(earlier)] = member
        if earlier.answer.done():
            member.answer.set_result(earlier.answer.result())

    def _dequeue(self, key: K, member: _Member[Answer]) -> None:
        queue = self._queues.get(key, [])
        if member in queue:
            queue.remove(member)
            if not queue:
                del self._queues[key]

    def _form(self, key: K, members: list[_Member[Answer]]) -> None:
        """Makes some of a queue, N at most, a cohort."""
        if len(members) == key.group_size:
            self.counts.full += 1
        else:
            self.counts.partial += 1
        cohort = _Cohort(members)
        for member in members:
            self._dequeue(key, member)
            member.cohort, member.earlier = cohort, None
        self._cohorts[cohort] = key
        cohort.scoring = asyncio.create_task(self._score_cohort(key, cohort), name="cohort")

    async def _score_cohort(self, key: K, cohort: _Cohort[Answer]) -> None:
        members = cohort.members
        until_s = max(member.deadline_s for member in members)
        try:
            answers = await self._score(key, [member.text for member in members], until_s)
            for member, answer in zip(members, answers, strict=True):
                member.answer.set_result(answer)
        except ServiceError as error:
            self._fail(key, cohort, error)
        except Exception as error:
            self._fail(key, cohort, error)
            raise
        finally:
            self._cohorts.pop(cohort, None)

    def _cancel(self, key: K, cohort: _Cohort[Answer]) -> None:
        """Ends the scoring of a cohort, which may not have begun; nothing happens where it has ended."""
        if cohort.scoring is not None and cohort.scoring.cancel():
            self._cohorts.pop(cohort, None)
            self._fail(key, cohort, NotReady("the server is shutting down", retry_after_s=1))

    def _fail(self, key: K, cohort: _Cohort[Answer], error: Exception) -> None:
        """Has every caller of a cohort raise; its retries are new members."""
        self.counts.failed += 1
        cohort.failed = True
        for member in cohort.members:
            self._gone.discard(member)
            if member.present and not member.answer.done():
                member.answer.set_exception(error)
        self._form_if_whole(key)

    def _leave(self, key: K, member: _Member[Answer]) -> None:
        """Keeps a member whose caller has gone, unless all of its cohort have: they will make it anew."""
        member.present = False
        if member.cohort is None:
            self._dequeue(key, member)
            self._gone.add(key, member)
        elif any(each.present for each in member.cohort.members):
            if not member.cohort.failed:
                self._gone.add(key, member)
        else:
            for each in member.cohort.members:
                self._gone.discard(each)
            self._cancel(key, member.cohort)


async def _wait(member: _Member[Answer], deadline_s: float) -> Answer:
    try:
        async with asyncio.timeout(deadline_s):
            return await asyncio.shield(member.answer)
    except TimeoutError:
        raise DeadlineExceeded(f"not scored within {deadline_s} s", retry_after_s=1) from None
