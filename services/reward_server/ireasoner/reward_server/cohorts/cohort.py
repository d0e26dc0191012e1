"""Cohorts: callers that each post one rollout of a prompt and are scored together.

Frameworks that post one rollout per call tell the server neither which calls belong together nor which are
retries. So callers with equal keys wait in one queue, and its first N are a cohort. A caller whose deadline is
near is scored with those that are waiting.

A retry is never a new member, although two equal rollouts are two members. A retry is recognised by its text and
by what happened to the same text before:

- Its caller left while it waited: the retry takes its old position in the queue.
- Its caller left after its cohort was formed: the call is either the retry, or a rollout of the next cohort, and
  waits for the decision. If N others come, or too few before its deadline, it is the retry and gets the answer
  from its old cohort. If a cohort is complete with it and not without it, it is new.
- Its caller left after the retry had come, because a lost connection is noticed late: the retry is recognised then.
  If its caller was answered before that, it is recognised at its deadline, instead of being scored without N others.
- Its answer was sent: the call is new. Only if every waiting call is of this kind when time is up, they are
  retries of answers that were lost on the way, and get those answers.

So a rollout is scored with a group that is not its own only if a retry and a complete new cohort of the same
prompt with an equal text arrive at once. All of this happens on one event loop in one process: there are no locks
and no shared state.
"""

import asyncio
import hashlib
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
from ireasoner.reward_server.observability.metrics import CohortCounts

RETRY_WINDOW_S = 60.0
"""Seconds within which a retry is recognised; slime waits at most 31 s before it retries."""
SCORING_SHARE = 0.25
SCORING_MOST_S = 5.0
"""The end of a caller's time that is reserved for scoring: this share of it, but at most this many seconds."""
EXPIRY_S = 5.0
"""How often rollouts whose time is up are forgotten, whether or not anyone calls."""

Answer = TypeVar("Answer")


class Key(Protocol):
    """What callers of one cohort have in common; hashable, with the number N of rollouts per prompt."""

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
    """One rollout.

    Attributes:
        identity: A hash of the text.
        text: The rollout; empty once it is being scored, and while its caller is away.
        position: Orders the queue.
        deadline_s: On the monotonic clock, when its caller gives up.
        answer: Set once the rollout is scored.
        earlier: A member of an earlier cohort with the same text, which this may be a retry of.
        came_back: Whether the caller of `earlier` was seen to leave.
        cohort: None until the rollout is being scored.
        present: False once its caller was seen to leave.
    """

    identity: bytes
    text: str
    position: int
    deadline_s: float
    answer: asyncio.Future[Answer]
    earlier: "_Member[Answer] | None" = None
    came_back: bool = False
    cohort: _Cohort[Answer] | None = None
    present: bool = True

    @property
    def may_be_retry(self) -> bool:
        """Whether it may be the retry of a member of a cohort; a failed cohort has no answer to repeat."""
        return self.earlier is not None and self.earlier.cohort is not None and not self.earlier.cohort.failed

    @property
    def counts(self) -> bool:
        """Whether it counts towards N: it is more likely new than a retry."""
        return not (self.came_back and self.may_be_retry)


class Cohorts(Generic[K, Answer]):
    """Gathers callers into cohorts and answers each, or fails it, by its deadline.

    Args:
        score: `score(key, texts, until_s)` scores the rollouts of one cohort, in order. It is called once per
            cohort; `until_s`, on the monotonic clock, is when the last of its callers gives up.
        limits: Bounds on callers and on what is kept for retries.
    """

    def __init__(
        self, score: Callable[[K, Sequence[str], float], Awaitable[Sequence[Answer]]], limits: CohortLimits
    ) -> None:
        self._score = score
        self._limits = limits
        self._queues: dict[K, list[_Member[Answer]]] = {}
        self._gone: CohortMemory[_Member[Answer]] = CohortMemory(RETRY_WINDOW_S, limits.max_kept)
        self._sent: CohortMemory[_Member[Answer]] = CohortMemory(RETRY_WINDOW_S, limits.max_kept)
        self._cohorts: dict[_Cohort[Answer], K] = {}
        self._positions = count()
        self._callers = 0
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False
        self.counts = CohortCounts()

    @property
    def half_full(self) -> int:
        """Cohorts that wait for more rollouts."""
        return len(self._queues)

    @property
    def callers(self) -> int:
        """Callers that wait for more rollouts or for their scores."""
        return self._callers

    @property
    def kept(self) -> int:
        """Rollouts that are kept for retries."""
        return len(self._gone) + len(self._sent)

    @contextmanager
    def visit(self, key: K, text: str, deadline_s: float) -> Iterator[Callable[[], Awaitable[Answer]]]:
        """One call; yields a function that waits for its answer, at most `deadline_s` seconds.

        If the block ends with an exception, for example because the caller has left, the answer counts as not
        delivered, and a retry is recognised for `RETRY_WINDOW_S`. The function raises what scoring raises, or
        DeadlineExceeded.

        Raises:
            Overloaded: Too many callers wait.
            NotReady: The server is shutting down.
        """
        self._admit()
        member = self._enter(key, text, time.monotonic() + deadline_s)
        collecting_s = deadline_s - min(SCORING_SHARE * deadline_s, SCORING_MOST_S)
        timer = asyncio.get_running_loop().call_later(collecting_s, self._end_waiting, key, member)
        self._callers += 1
        try:
            yield partial(_wait, member, deadline_s)
            self._keep(self._sent, key, member)
        except BaseException:
            self._leave(key, member)
            raise
        finally:
            timer.cancel()
            self._callers -= 1

    def close(self) -> None:
        """Fails every waiting caller with NotReady, so that a shutdown need not wait for their deadlines."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        for members in self._queues.values():
            for member in members:
                member.answer.set_exception(NotReady("the server is shutting down", retry_after_s=1))
        self._queues.clear()
        for cohort, key in list(self._cohorts.items()):
            self._cancel(key, cohort)

    def _admit(self) -> None:
        if self._closed:
            raise NotReady("the server is shutting down", retry_after_s=1)
        if self._callers >= self._limits.max_callers:
            self.counts.refused += 1
            raise Overloaded(
                f"{self._callers} callers are already waiting for their cohorts", retry_after_s=1
            )

    def _enter(self, key: K, text: str, deadline_s: float) -> _Member[Answer]:
        identity = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        gone = self._gone.take(key, identity)
        if gone is not None and gone.cohort is None:
            member = gone
            member.text, member.deadline_s, member.present = text, deadline_s, True
            self.counts.returned += 1
        else:
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            earlier = gone or self._sent.take(key, identity)
            position = next(self._positions)
            member = _Member(identity, text, position, deadline_s, answer, earlier, gone is not None)
        insort(self._queues.setdefault(key, []), member, key=lambda each: each.position)
        self._form_if_complete(key)
        return member

    def _keep(self, memory: CohortMemory[_Member[Answer]], key: K, member: _Member[Answer]) -> None:
        """Keeps a member for its retry, without its text."""
        member.text = ""
        memory.add(key, member)
        if self._expiry is None and not self._closed:
            self._expiry = asyncio.get_running_loop().call_later(EXPIRY_S, self._expire)

    def _expire(self) -> None:
        """Forgets what no retry can repeat any more, and comes back while anything is kept."""
        self._gone.forget()
        self._sent.forget()
        self._expiry = None
        if self.kept:
            self._expiry = asyncio.get_running_loop().call_later(EXPIRY_S, self._expire)

    def _notice_leaving(self, key: K) -> None:
        """Recognises waiting retries of callers that were seen to leave after the retries had come."""
        for each in self._queues.get(key, []):
            if each.earlier is None:
                gone = self._gone.take(key, each.identity)
                if gone is not None and gone.cohort is not None:
                    each.earlier, each.came_back = gone, True

    def _notice_answers(self, key: K) -> None:
        """Takes waiting calls for retries of complete cohorts' members that were answered after the calls had come."""
        for each in self._queues.get(key, []):
            if each.earlier is None:
                sent = self._sent.take(key, each.identity)
                if (
                    sent is not None
                    and sent.cohort is not None
                    and len(sent.cohort.members) == key.group_size
                ):
                    each.earlier = sent

    def _form_if_complete(self, key: K) -> None:
        """Forms a cohort of N members that count; those that have waited with them are then retries."""
        queue = self._queues.get(key, [])
        new = [each for each in queue if each.counts]
        if len(new) >= key.group_size:
            retries = [each for each in queue if not each.counts]
            self._form(key, new[: key.group_size])
            for each in retries:
                self._repeat_earlier(key, each)

    def _end_waiting(self, key: K, member: _Member[Answer]) -> None:
        """Decides how to answer `member`, whose time for waiting is up.

        At this point fewer than N members count. If N wait and at least one counts, they are a cohort.
        """
        queue = self._queues.get(key, [])
        if member not in queue:
            return
        self._notice_leaving(key)
        if len(queue) < key.group_size:
            self._notice_answers(key)
        if len(queue) >= key.group_size and any(each.counts for each in queue):
            by_claim = sorted(queue, key=lambda each: (not each.counts, each is not member))
            chosen = by_claim[: key.group_size]
            self._form(key, [each for each in queue if each in chosen])
        elif not member.counts or all(each.may_be_retry for each in queue):
            self._repeat_earlier(key, member)
        else:
            self._form(key, [each for each in queue if each.counts])

    def _repeat_earlier(self, key: K, member: _Member[Answer]) -> None:
        """Puts `member` into the earlier cohort, in the slot of the member that it is a retry of."""
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
        """Forms a cohort of some of a queue, at most N."""
        if len(members) == key.group_size:
            self.counts.full += 1
        else:
            self.counts.partial += 1
        cohort = _Cohort(members)
        texts = [member.text for member in members]
        for member in members:
            self._dequeue(key, member)
            member.cohort, member.earlier, member.text = cohort, None, ""
        self._cohorts[cohort] = key
        cohort.scoring = asyncio.create_task(self._score_cohort(key, cohort, texts), name="cohort")

    async def _score_cohort(self, key: K, cohort: _Cohort[Answer], texts: list[str]) -> None:
        members = cohort.members
        until_s = max(member.deadline_s for member in members)
        try:
            answers = await self._score(key, texts, until_s)
            for member, answer in zip(members, answers, strict=True):
                member.answer.set_result(answer)
        except ServiceError as error:
            self._fail(key, cohort, error)
        except Exception as error:
            self._fail(key, cohort, error)
            raise
        finally:
            self._cohorts.pop(cohort, None)
            cohort.scoring = None  # members are kept for retries, and would keep the task

    def _cancel(self, key: K, cohort: _Cohort[Answer]) -> None:
        """Cancels the scoring of a cohort; does nothing if it has ended."""
        if cohort.scoring is not None and cohort.scoring.cancel():
            self._cohorts.pop(cohort, None)
            self._fail(key, cohort, NotReady("the server is shutting down", retry_after_s=1))

    def _fail(self, key: K, cohort: _Cohort[Answer], error: Exception) -> None:
        """Fails every caller of a cohort; their retries are new members."""
        self.counts.failed += 1
        cohort.failed = True
        for member in cohort.members:
            self._gone.discard(member)
            if member.present and not member.answer.done():
                member.answer.set_exception(error)
        self._form_if_complete(key)

    def _leave(self, key: K, member: _Member[Answer]) -> None:
        """Keeps a member whose caller has left, for its retry; if all of a cohort left, retries form a new one."""
        member.present = False
        if member.cohort is None:
            self._dequeue(key, member)
            self._keep(self._gone, key, member)
        elif any(each.present for each in member.cohort.members):
            if not member.cohort.failed:
                self._keep(self._gone, key, member)
                self._notice_leaving(key)
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
