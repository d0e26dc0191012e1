"""Callers take turns at the embedder: who waits for whom, counted in forward passes."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from ireasoner.reward_server.embedding.batching import (
    PASSES_AT_BACKEND,
    TOKENIZED_FIRST,
    EmbeddingBatcher,
)
from ireasoner.reward_server.errors import EmbeddingFailed, Overloaded, RequestTooLarge
from tests.reward_server.letters import Letters, batching, embedded, lengths

SETTLE_S = 0.1
ON_THEIR_WAY = 2 * PASSES_AT_BACKEND + 1
"""Passes that may end between a text's arrival and the end of its own pass, and before its caller goes on."""


def texts(name: str, count: int, length: int = 8) -> list[str]:
    """Distinct texts of `length` letters; 8 of 8 letters are a full pass."""
    return [f"{name}{number:x}".ljust(length, "_") for number in range(count)]


async def passes_until(embedder: Letters, awaited: "asyncio.Task[object]") -> int:
    before = len(embedder.batches)
    await awaited
    return len(embedder.batches) - before


async def queued(
    batcher: EmbeddingBatcher, wanted: Sequence[str], caller: object = None
) -> "asyncio.Task[object]":
    """A call whose texts are in the queue, and tokenised if the embedder is free."""
    call = asyncio.create_task(embedded(batcher, wanted, caller))
    await asyncio.sleep(SETTLE_S)
    return call


@pytest.mark.parametrize("large", [400, 4_000])
@pytest.mark.parametrize(
    ("small", "own_passes"),
    [
        (["one"], 1),
        (texts("s", 5), 1),
        (["a", "bb", "ccc", "dddd"], 4),
        (texts("s", 20), 3),
    ],
)
def test_a_small_request_does_not_wait_for_a_large_one(large: int, small: list[str], own_passes: int) -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder, max_queue_texts=6_000) as batcher:
            embedder.gate.clear()
            slow = await queued(batcher, texts("L", large))
            quick = await queued(batcher, small)
            embedder.gate.set()
            passes = await passes_until(embedder, quick)
            assert passes <= ON_THEIR_WAY + 2 * own_passes
            slow.cancel()

    asyncio.run(scenario())


def test_both_of_two_large_requests_go_on() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            embedder.gate.clear()
            calls = [await queued(batcher, texts(name, 80)) for name in "ab"]
            embedder.gate.set()
            await asyncio.gather(*calls)
            owners = [chr(batch[0][0]) for batch in embedder.tokens]
            assert sorted(owners) == ["a"] * 10 + ["b"] * 10
            for end in range(len(owners)):
                assert abs(owners[:end].count("a") - owners[:end].count("b")) <= ON_THEIR_WAY

    asyncio.run(scenario())


def test_the_requests_of_one_experiment_take_its_turns() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            embedder.gate.clear()
            many = [await queued(batcher, texts(name, 8), "many") for name in "abcdefghij"]
            other = await queued(batcher, texts("z", 16), "other")
            embedder.gate.set()
            assert await passes_until(embedder, other) <= ON_THEIR_WAY + 4
            await asyncio.gather(*many)

    asyncio.run(scenario())


def test_a_text_that_two_callers_wait_for_takes_the_turn_of_either() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            embedder.gate.clear()
            shared = texts("L", 400)
            slow = await queued(batcher, shared)
            quick = await queued(batcher, shared[-3:])
            embedder.gate.set()
            assert await passes_until(embedder, quick) <= ON_THEIR_WAY + 1
            await slow
            assert sorted(embedder.tokenized) == sorted(shared)

    asyncio.run(scenario())


def test_room_in_a_pass_goes_to_other_callers() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            await asyncio.gather(*(embedded(batcher, texts(name, 4)) for name in "abcdef"))
            assert embedder.batches == [[8] * 8] * 3

    asyncio.run(scenario())


def test_lengths_that_nobody_shares_are_reached_while_small_requests_keep_coming() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            odd = asyncio.create_task(embedded(batcher, [*texts("L", 100), "odd", "odder"]))
            for number in range(60):
                await embedded(batcher, [f"n{number}".ljust(8, "_")])
                if odd.done():
                    return
        raise AssertionError("it still waits")

    asyncio.run(scenario())


def test_tokenising_takes_turns_too() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder, max_queue_texts=40_000) as batcher:
            slow = asyncio.create_task(embedded(batcher, texts("L", 6 * TOKENIZED_FIRST)))
            await asyncio.sleep(0)
            quick = asyncio.create_task(embedded(batcher, ["quick"]))
            await quick
            assert len(embedder.tokenized) <= 3 * TOKENIZED_FIRST
            slow.cancel()

    asyncio.run(scenario())


async def all_refused(batcher: EmbeddingBatcher, counts: dict[str, int]) -> None:
    for caller, count in counts.items():
        with pytest.raises(Overloaded):
            await embedded(batcher, texts("x", count), caller)


def test_one_caller_leaves_room_for_others_who_leave_room_for_more() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder, max_queue_texts=100) as batcher:
            with pytest.raises(RequestTooLarge, match="takes 80 of one caller"):
                await embedded(batcher, texts("a", 81))
            embedder.gate.clear()
            calls = [await queued(batcher, texts(name, 40), "a") for name in "ab"]
            await all_refused(batcher, {"a": 1, "d": 17})
            calls.append(await queued(batcher, texts("d", 16), "d"))
            await all_refused(batcher, {"a": 1, "d": 1, "f": 4})
            calls.append(await queued(batcher, texts("f", 3), "f"))
            await all_refused(batcher, {"a": 1, "d": 1, "f": 1, "g": 1})
            assert batcher.queued_texts == 99
            embedder.gate.set()
            await asyncio.gather(*calls)

    asyncio.run(scenario())


def test_texts_that_are_queued_already_need_no_room() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder, max_queue_texts=100) as batcher:
            embedder.gate.clear()
            calls = [await queued(batcher, texts("a", 80), caller) for caller in ("a", "a", "b")]
            assert batcher.queued_texts == 80
            embedder.gate.set()
            await asyncio.gather(*calls)

    asyncio.run(scenario())


def test_a_call_that_ends_gives_its_room_back_at_once() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder, max_queue_texts=100) as batcher:
            embedder.gate.clear()
            busy = [await queued(batcher, ["x" * length]) for length in (20, 21)]
            leaving = await queued(batcher, texts("a", 78), "a")
            staying = await queued(batcher, texts("a", 4), "b")
            assert batcher.queued_texts == 80
            leaving.cancel()
            await asyncio.wait([leaving])
            assert batcher.queued_texts == 6
            again = await queued(batcher, texts("a", 70), "a")
            embedder.gate.set()
            await asyncio.gather(*busy, staying, again)
            assert batcher.queued_texts == 0
            assert len(embedder.tokenized) == 2 + 4 + 66

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(8))
def test_whatever_callers_do_each_call_ends_and_nothing_is_left(seed: int) -> None:
    """Shared texts, texts that fail, callers with several calls, and calls that are cancelled at any time."""
    draw = random.Random(seed)
    good = [*texts("p", 60), *texts("q", 30, 5)]
    pool = [*good, *texts("!", 2, 3), "", "untokenizable"]

    async def scenario() -> None:
        embedder = Letters()
        embedder.mixes_lengths = draw.random() < 0.3
        async with batching(embedder, max_queue_texts=80, cache_bytes=0) as batcher:
            calls = []
            for _ in range(120):
                wanted = draw.sample(pool, draw.randint(1, 25))
                caller = draw.choice(["a", "b", "c", None])
                calls.append((asyncio.create_task(embedded(batcher, wanted, caller)), wanted))
                for _ in range(draw.randint(0, 3)):
                    await asyncio.sleep(0)
                if draw.random() < 0.4:
                    draw.choice(calls)[0].cancel()
            ended = await asyncio.gather(*(call for call, _ in calls), return_exceptions=True)
            kinds = {type(each) for each in ended if isinstance(each, BaseException)}
            assert kinds <= {asyncio.CancelledError, EmbeddingFailed, Overloaded}
            for (_, wanted), result in zip(calls, ended, strict=True):
                if not isinstance(result, BaseException):
                    assert lengths(result) == [*map(len, wanted)]
            for caller in (
                "a",
                "b",
                "c",
                None,
            ):  # nothing that went wrong before holds up or fails a good text
                wanted = draw.sample(good, 25)
                assert lengths(await embedded(batcher, wanted, caller)) == [*map(len, wanted)]
            assert (batcher.queued_texts, batcher._calls) == (0, set())
            for lines in (batcher._arrived, batcher._tokenized):
                assert (len(lines), lines._shares._used) == (0, {})

    asyncio.run(scenario())
