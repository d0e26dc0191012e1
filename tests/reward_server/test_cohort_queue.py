"""The bookkeeping of cohorts, with a scorer that the test controls."""

import asyncio
import gc
import random
import selectors
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ireasoner.reward_server.cohorts import cohort
from ireasoner.reward_server.cohorts.cohort import Cohorts
from ireasoner.reward_server.cohorts.cohort_memory import CohortLimits, CohortMemory
from ireasoner.reward_server.errors import DeadlineExceeded, EmbeddingFailed, NotReady, Overloaded

LIMITS = CohortLimits(max_callers=100, max_kept=1_000)
SHORT_S = 0.4
"""The deadline of a caller whose cohort stays incomplete."""


class Leaping(selectors.DefaultSelector):
    """Waits for nothing: the time that it would have waited has passed at once."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None:
            self.passed_s += timeout
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, so that no test depends on the speed of the machine."""

    def __init__(self) -> None:
        self._leaping = Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.passed_s


@dataclass(frozen=True)
class Key:
    prompt: str = "p"
    group_size: int = 2


@dataclass(frozen=True, eq=False)
class Answer:
    """A slot of one cohort: no two are equal, whatever the texts."""

    cohort: tuple[str, ...]
    text: str


class Lost(Exception):
    """The answer could not be sent."""


class Server(Cohorts[Key, Answer]):
    """Cohorts that `score` scores, unless the test makes it wait or fail."""

    def __init__(self, limits: CohortLimits) -> None:
        super().__init__(self.score, limits)
        self.free = asyncio.Event()
        self.free.set()
        self.failures: list[Exception] = []
        self.scored: list[tuple[str, ...]] = []
        self.cancelled = 0

    async def score(self, key: Key, texts: Sequence[str], until_s: float) -> list[Answer]:
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            raise self.failures.pop()
        self.scored.append(tuple(texts))
        return [Answer(tuple(texts), text) for text in texts]

    async def call(
        self, text: str, key: Key = Key(), *, deadline_s: float = 60.0, lose: bool = False
    ) -> Answer:
        """One call; with `lose` its connection breaks when the answer is about to be sent."""
        with self.visit(key, text, deadline_s) as wait:
            answer = await wait()
            if lose:
                raise Lost
        return answer


Conversation = Callable[[Server], Coroutine[Any, Any, None]]


def talk(conversation: Conversation, limits: CohortLimits = LIMITS) -> None:
    async def run() -> None:
        await asyncio.wait_for(conversation(Server(limits)), 30)

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        runner.run(run())


async def begin(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.create_task(coroutine)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def go(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait([task])


async def cohorts_of(*calls: "asyncio.Task[Any]") -> list[str]:
    """The cohort that each call was scored in."""
    return ["".join(answer.cohort) for answer in await asyncio.gather(*calls)]


async def cohort_that_a_caller_left(server: Server, *, when: str) -> Answer:
    """A cohort of a and b, whose caller b leaves at some point after it is complete; returns a's answer."""
    if when == "before it is scored":
        server.free.clear()
        stays = await begin(server.call("a"))
        await go(await begin(server.call("b")))
        server.free.set()
    else:
        stays = await begin(server.call("a"))
        with pytest.raises(Lost):
            await server.call("b", lose=True)
    answer: Answer = await stays
    assert answer.cohort == ("a", "b")
    return answer


LEFT = pytest.mark.parametrize("when", ["before it is scored", "before its answer is sent"])


@LEFT
def test_a_retry_gets_the_answer_of_its_cohort(when: str) -> None:
    async def conversation(server: Server) -> None:
        await cohort_that_a_caller_left(server, when=when)
        assert await cohorts_of(await begin(server.call("b", deadline_s=SHORT_S))) == ["ab"]
        assert server.scored == [("a", "b")]
        assert (server.counts.full, server.counts.partial, server.counts.returned) == (1, 0, 1)

    talk(conversation)


@LEFT
def test_a_retry_does_not_join_the_next_cohort(when: str) -> None:
    async def conversation(server: Server) -> None:
        await cohort_that_a_caller_left(server, when=when)
        calls = [await begin(server.call(text)) for text in "cbd"]
        assert await cohorts_of(*calls) == ["cd", "ab", "cd"]

    talk(conversation)


async def two_cohorts_that_a_caller_left(server: Server) -> None:
    """Cohorts of a and b, and of c and d: all are answered, and the answers of b and d are lost."""
    for stays, leaves in (("a", "b"), ("c", "d")):
        waits = await begin(server.call(stays))
        with pytest.raises(Lost):
            await server.call(leaves, lose=True)
        await waits


def test_retries_of_two_cohorts_do_not_form_a_third() -> None:
    async def conversation(server: Server) -> None:
        await two_cohorts_that_a_caller_left(server)
        calls = [await begin(server.call(text, deadline_s=SHORT_S)) for text in "bd"]
        assert await cohorts_of(*calls) == ["ab", "cd"]
        assert server.scored == [("a", "b"), ("c", "d")]

    talk(conversation)


def test_a_new_rollout_is_not_left_out_for_earlier_retries() -> None:
    async def conversation(server: Server) -> None:
        await two_cohorts_that_a_caller_left(server)
        calls = [await begin(server.call(text)) for text in "bd"]
        new = await begin(server.call("e", deadline_s=SHORT_S))
        assert await cohorts_of(new) == ["be"]
        assert await cohorts_of(calls[0]) == ["be"]
        await go(calls[1])

    talk(conversation)


@LEFT
def test_an_equal_text_of_the_next_cohort_is_not_a_retry(when: str) -> None:
    """The caller that left never retries."""

    async def conversation(server: Server) -> None:
        await cohort_that_a_caller_left(server, when=when)
        calls = [await begin(server.call(text, deadline_s=SHORT_S)) for text in "bc"]
        assert await cohorts_of(*calls) == ["bc", "bc"]
        assert server.counts.partial == 0

    talk(conversation)


def test_delivered_answers_are_given_to_no_other_caller() -> None:
    """The next cohort has the same texts, and is complete at once."""

    async def conversation(server: Server) -> None:
        first = await asyncio.gather(*(server.call(text) for text in "ab"))
        second = await asyncio.gather(*(server.call(text) for text in "ab"))
        assert server.scored == [("a", "b")] * 2
        assert not set(first) & set(second)
        assert server.counts.returned == 0

    talk(conversation)


def test_a_retry_of_an_answer_that_was_sent_and_never_arrived() -> None:
    """No other caller with its prompt waits."""

    async def conversation(server: Server) -> None:
        first = await asyncio.gather(*(server.call(text) for text in "ab"))
        again = await begin(server.call("b", deadline_s=SHORT_S))
        assert await again is first[1]
        assert server.scored == [("a", "b")]

    talk(conversation)


def test_a_cohort_that_all_callers_left_forms_again() -> None:
    async def conversation(server: Server) -> None:
        calls = [await begin(server.call(text, lose=True)) for text in "ab"]
        await asyncio.wait(calls)
        again = [await begin(server.call(text)) for text in "ba"]
        assert await cohorts_of(*again) == ["ba", "ba"]

    talk(conversation)


def test_equal_rollouts_and_their_retries_are_counted_right() -> None:
    async def conversation(server: Server) -> None:
        key = Key(group_size=3)
        stays = await begin(server.call("c", key))
        lost = [await begin(server.call("a", key, lose=True)) for _ in range(2)]
        await asyncio.wait([*lost, stays])
        again = [await begin(server.call("a", key, deadline_s=SHORT_S)) for _ in range(2)]
        assert await cohorts_of(stays, *again) == ["caa"] * 3
        assert len(set(await asyncio.gather(*again))) == 2
        assert server.scored == [("c", "a", "a")]

    talk(conversation)


def test_a_retry_can_be_retried() -> None:
    async def conversation(server: Server) -> None:
        await cohort_that_a_caller_left(server, when="before it is scored")
        await go(await begin(server.call("b", deadline_s=SHORT_S)))
        with pytest.raises(Lost):
            await server.call("b", deadline_s=SHORT_S, lose=True)
        assert await cohorts_of(await begin(server.call("b", deadline_s=SHORT_S))) == ["ab"]

    talk(conversation)


def test_a_retry_of_a_cohort_that_then_fails_is_new() -> None:
    async def conversation(server: Server) -> None:
        server.free.clear()
        server.failures.append(EmbeddingFailed("no"))
        stays = await begin(server.call("a"))
        await go(await begin(server.call("b")))
        again = await begin(server.call("b"))
        server.free.set()
        with pytest.raises(EmbeddingFailed):
            await stays
        assert await cohorts_of(again, await begin(server.call("a"))) == ["ba", "ba"]

    talk(conversation)


def test_a_cohort_that_all_have_left_is_dropped() -> None:
    """Its texts join no other group, and its answers are given to no other caller."""

    async def conversation(server: Server) -> None:
        server.free.clear()
        calls = [await begin(server.call(text)) for text in "ab"]
        for call in calls:
            await go(call)
        await asyncio.sleep(0)
        assert server.cancelled == 1
        server.free.set()
        first = await begin(server.call("a"))
        assert not first.done()
        assert await cohorts_of(await begin(server.call("c")), first) == ["ac", "ac"]

    talk(conversation)


def test_a_cohort_that_all_have_left_before_it_is_scored_is_not_kept() -> None:
    async def conversation(server: Server) -> None:
        with pytest.raises(Lost), server.visit(Key(), "a", 60), server.visit(Key(), "b", 60):
            raise Lost
        assert not server._cohorts
        assert (server.counts.full, server.counts.failed) == (1, 1)
        again = [await begin(server.call(text)) for text in "ba"]
        assert await cohorts_of(*again) == ["ba", "ba"]
        assert server.scored == [("b", "a")]

    talk(conversation)


def test_a_failure_reaches_every_caller_and_their_retries_form_a_cohort() -> None:
    async def conversation(server: Server) -> None:
        server.failures.append(EmbeddingFailed("no"))
        calls = [await begin(server.call(text)) for text in "ab"]
        for call in calls:
            with pytest.raises(EmbeddingFailed):
                await call
        calls = [await begin(server.call(text)) for text in "ba"]
        assert await cohorts_of(*calls) == ["ba", "ba"]

    talk(conversation)


def test_scoring_that_takes_too_long_raises_deadline_exceeded() -> None:
    async def conversation(server: Server) -> None:
        server.free.clear()
        patient = await begin(server.call("a"))
        with pytest.raises(DeadlineExceeded):
            await server.call("b", deadline_s=0.05)
        server.free.set()
        again = await begin(server.call("b", deadline_s=SHORT_S))
        assert await cohorts_of(patient, again) == ["ab", "ab"]

    talk(conversation)


def test_state_is_bounded() -> None:
    async def conversation(server: Server) -> None:
        waiting = [await begin(server.call("x" * 10, Key(str(i)))) for i in range(3)]
        with pytest.raises(Overloaded):
            await server.call("x", Key("other"))
        for call in waiting:
            await go(call)
        assert (server.callers, server.half_full, server.kept) == (0, 0, 3)

    talk(conversation, CohortLimits(max_callers=3, max_kept=100))


@dataclass(frozen=True)
class Kept:
    identity: bytes


def test_kept_rollouts_are_bounded() -> None:
    """The oldest go first."""
    memory: CohortMemory[Kept] = CohortMemory(60, max_kept=3)
    for number in range(5):
        memory.add("p", Kept(bytes([number])))
    taken = [memory.take("p", bytes([number])) for number in range(5)]
    assert [each is not None for each in taken] == [False, False, True, True, True]
    assert len(memory) == 0


def test_kept_rollouts_expire() -> None:
    memory: CohortMemory[Kept] = CohortMemory(0.01, max_kept=3)
    memory.add("p", Kept(b"a"))
    time.sleep(0.02)
    assert memory.take("p", b"a") is None
    assert len(memory) == 0


def test_kept_rollouts_expire_without_a_further_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of theirs stays: what a caller sent is garbage once the time of its retries is over."""
    monkeypatch.setattr(cohort, "RETRY_WINDOW_S", 0.02)
    monkeypatch.setattr(cohort, "EXPIRY_S", 0.05)

    async def conversation(server: Server) -> None:
        key = Key("q")
        await asyncio.gather(*(server.call(text, key) for text in "ab"))
        await go(await begin(server.call("c", key)))
        assert server.kept == 3
        kept = weakref.ref(key)
        del key
        while server.kept:
            await asyncio.sleep(0.01)
        gc.collect()
        assert kept() is None

    talk(conversation)


def test_no_text_is_kept() -> None:
    async def conversation(server: Server) -> None:
        await cohort_that_a_caller_left(server, when="before it is scored")
        await go(await begin(server.call("c")))
        members = [*server._gone._until_s, *server._sent._until_s]
        assert len(members) == server.kept == 3
        assert not any(member.text for member in members)

    talk(conversation)


async def retry_before_its_predecessor_leaves(server: Server, *, when: str) -> "asyncio.Task[Any]":
    """A cohort of a, b, c and d, of which d is sent again before its first caller is seen to leave."""
    key = Key(group_size=4)
    if when == "while it is scored":
        server.free.clear()
    calls = [await begin(server.call(text, key)) for text in "abcd"]
    again: asyncio.Task[Any] = await begin(server.call("d", key, deadline_s=SHORT_S))
    await go(calls[3])
    server.free.set()
    await asyncio.gather(*calls[:3])
    return again


@pytest.mark.parametrize("when", ["while it is scored", "after it is scored"])
def test_a_retry_that_comes_before_its_predecessor_leaves_is_not_scored_alone(when: str) -> None:
    async def conversation(server: Server) -> None:
        again = await retry_before_its_predecessor_leaves(server, when=when)
        assert await cohorts_of(again) == ["abcd"]
        assert server.scored == [tuple("abcd")]
        assert (server.counts.full, server.counts.partial, server.counts.returned) == (1, 0, 1)

    talk(conversation)


def test_an_early_retry_does_not_join_the_next_cohort() -> None:
    async def conversation(server: Server) -> None:
        again = await retry_before_its_predecessor_leaves(server, when="while it is scored")
        calls = [await begin(server.call(text, Key(group_size=4))) for text in "efgh"]
        assert await cohorts_of(*calls, again) == ["efgh"] * 4 + ["abcd"]
        assert server.counts.partial == 0

    talk(conversation)


def test_an_early_retry_while_the_cohort_gathers_takes_one_slot() -> None:
    async def conversation(server: Server) -> None:
        key = Key(group_size=3)
        first = await begin(server.call("a", key))
        again = await begin(server.call("a", key))
        await go(first)
        calls = [await begin(server.call(text, key)) for text in "bc"]
        assert await cohorts_of(again, *calls) == ["abc"] * 3

    talk(conversation)


def test_after_close_no_caller_is_accepted_and_none_waits() -> None:
    async def conversation(server: Server) -> None:
        server.free.clear()
        scoring = [await begin(server.call(text)) for text in "ab"]
        gathering = await begin(server.call("c"))
        server.close()
        for call in (*scoring, gathering):
            with pytest.raises(NotReady):
                await call
        with pytest.raises(NotReady):
            await server.call("d")

    talk(conversation)


def test_close_fails_callers_whose_scoring_has_not_begun() -> None:
    async def conversation(server: Server) -> None:
        with server.visit(Key(), "a", 60) as first, server.visit(Key(), "b", 60) as second:
            server.close()
            for wait in (first, second):
                with pytest.raises(NotReady):
                    await wait()

    talk(conversation)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_callers_do_each_gets_a_slot_of_its_own_prompt(seed: int) -> None:
    """Callers of several prompts arrive, leave, lose their answers, retry and fail, in any order."""

    async def conversation(server: Server) -> None:
        draw = random.Random(seed)
        server.failures = [EmbeddingFailed("no")] * 3

        async def caller(prompt: str, text: str) -> Answer:
            key = Key(prompt, 4)
            while True:
                await asyncio.sleep(draw.uniform(0, 0.02))
                patience_s = draw.choice([0.001, 0.01, 1])
                try:
                    async with asyncio.timeout(patience_s):
                        return await server.call(text, key, deadline_s=0.2, lose=draw.random() < 0.2)
                except (TimeoutError, DeadlineExceeded, EmbeddingFailed, Lost):
                    continue

        callers = [(f"p{i % 3}", f"p{i % 3} {draw.randrange(4)}") for i in range(36)]
        ended = await asyncio.gather(*(caller(*each) for each in callers))
        for (prompt, text), answer in zip(callers, ended, strict=True):
            assert answer.text == text
            assert len(answer.cohort) <= 4
            assert all(member.startswith(prompt) for member in answer.cohort)
        assert (server.callers, server.half_full) == (0, 0)
        assert len(set(ended)) == len(ended), "each rollout has a slot of its own"

    talk(conversation)
