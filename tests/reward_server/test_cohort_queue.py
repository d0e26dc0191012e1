"""The bookkeeping of cohorts, with a scorer that the test holds in its hand."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from services.reward_server.cohort import CohortLimits, Cohorts
from services.reward_server.errors import DeadlineExceeded, EmbeddingFailed, NotReady, Overloaded

LIMITS = CohortLimits(max_callers=100, max_characters=10_000)


@dataclass(frozen=True)
class Key:
    prompt: str = "p"
    group_size: int = 2


class Scorer:
    """Answers each rollout with its whole cohort; while `held` it does not answer at all."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.failures: list[Exception] = []
        self.scored: list[tuple[str, ...]] = []
        self.cancelled = 0

    async def __call__(self, key: Key, texts: Sequence[str], until_s: float) -> list[tuple[str, ...]]:
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            raise self.failures.pop()
        self.scored.append(tuple(texts))
        return [tuple(texts)] * len(texts)


Conversation = Callable[[Scorer, Cohorts[Key, tuple[str, ...]]], Coroutine[Any, Any, None]]


def talk(conversation: Conversation, limits: CohortLimits = LIMITS) -> None:
    async def run() -> None:
        scorer = Scorer()
        await asyncio.wait_for(conversation(scorer, Cohorts(scorer, limits)), 30)

    asyncio.run(run())


async def begin(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.create_task(coroutine)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


async def go(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.wait([task])


def test_a_retry_gets_what_was_computed_while_it_was_away() -> None:
    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        scorer.free.clear()
        stays = await begin(cohorts.reward(Key(), "a", 60))
        leaves = await begin(cohorts.reward(Key(), "b", 60))
        await go(leaves)
        scorer.free.set()
        assert await stays == ("a", "b")
        assert await cohorts.reward(Key(), "b", 60) == ("a", "b")
        assert scorer.scored == [("a", "b")]
        assert (cohorts.counts.full, cohorts.counts.returned) == (1, 1)

    talk(conversation)


def test_a_retry_joins_the_scoring_that_still_goes_on() -> None:
    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        scorer.free.clear()
        stays = await begin(cohorts.reward(Key(), "a", 60))
        await go(await begin(cohorts.reward(Key(), "b", 60)))
        returns = await begin(cohorts.reward(Key(), "b", 60))
        scorer.free.set()
        assert await stays == await returns == ("a", "b")

    talk(conversation)


def test_a_cohort_that_all_have_left_is_dropped() -> None:
    """Its texts are scored with nobody, and its answers are given to nobody."""

    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        scorer.free.clear()
        calls = [await begin(cohorts.reward(Key(), text, 60)) for text in "ab"]
        for call in calls:
            await go(call)
        await asyncio.sleep(0)
        assert scorer.cancelled == 1
        scorer.free.set()
        first = await begin(cohorts.reward(Key(), "a", 60))
        assert not first.done()
        assert await cohorts.reward(Key(), "c", 60) == await first == ("a", "c")

    talk(conversation)


def test_a_failure_is_every_callers_and_the_retries_are_a_cohort_again() -> None:
    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        scorer.failures.append(EmbeddingFailed("no"))
        calls = [await begin(cohorts.reward(Key(), text, 60)) for text in "ab"]
        for call in calls:
            with pytest.raises(EmbeddingFailed):
                await call
        calls = [await begin(cohorts.reward(Key(), text, 60)) for text in "ba"]
        assert await asyncio.gather(*calls) == [("b", "a")] * 2

    talk(conversation)


def test_scoring_that_takes_too_long_is_a_typed_error() -> None:
    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        scorer.free.clear()
        patient = await begin(cohorts.reward(Key(), "a", 60))
        with pytest.raises(DeadlineExceeded):
            await cohorts.reward(Key(), "b", 0.05)
        scorer.free.set()
        assert await patient == ("a", "b")
        assert await cohorts.reward(Key(), "b", 60) == ("a", "b")

    talk(conversation)


def test_state_is_bounded() -> None:
    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        waiting = [await begin(cohorts.reward(Key(str(i)), "x" * 10, 60)) for i in range(3)]
        with pytest.raises(Overloaded):
            await cohorts.reward(Key("other"), "x", 60)
        for call in waiting:
            await go(call)
        with pytest.raises(Overloaded):
            await cohorts.reward(Key("large"), "x" * 101, 60)
        assert (cohorts.callers, cohorts.half_full) == (0, 0)

    talk(conversation, CohortLimits(max_callers=3, max_characters=100))


def test_after_close_nobody_is_taken_and_nobody_waits() -> None:
    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        scorer.free.clear()
        scoring = [await begin(cohorts.reward(Key(), text, 60)) for text in "ab"]
        gathering = await begin(cohorts.reward(Key(), "c", 60))
        cohorts.close()
        for call in (*scoring, gathering):
            with pytest.raises(NotReady):
                await call
        with pytest.raises(NotReady):
            await cohorts.reward(Key(), "d", 60)

    talk(conversation)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_callers_do_each_ends_once_with_its_own_group(seed: int) -> None:
    """Callers of several prompts come, go, come back and fail, in any order."""

    async def conversation(scorer: Scorer, cohorts: Cohorts[Key, tuple[str, ...]]) -> None:
        draw = random.Random(seed)
        scorer.failures = [EmbeddingFailed("no")] * 3

        async def caller(prompt: str, text: str) -> tuple[str, ...]:
            key = Key(prompt, 4)
            while True:
                await asyncio.sleep(draw.uniform(0, 0.02))
                patience_s = draw.choice([0.001, 0.01, 1])
                try:
                    async with asyncio.timeout(patience_s):
                        return await cohorts.reward(key, text, 0.2)
                except (TimeoutError, EmbeddingFailed):
                    continue

        callers = [(f"p{i % 3}", f"p{i % 3} {draw.randrange(4)}") for i in range(36)]
        ended = await asyncio.gather(*(caller(*each) for each in callers))
        for (prompt, text), group in zip(callers, ended, strict=True):
            assert text in group
            assert len(group) <= 4
            assert all(member.startswith(prompt) for member in group)
        assert (cohorts.callers, cohorts.half_full) == (0, 0)
        for text in {text for _, text in callers}:
            assert sum(group.count(text) for group in scorer.scored) >= sum(
                each == text for _, each in callers
            )

    talk(conversation)
