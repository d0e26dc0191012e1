"""The batcher's promises: each text once, in order, failures only for their own callers, a bounded queue."""

import asyncio

import numpy as np
import pytest

from ireasoner.reward_server.embedding.batching import EmbeddingCache
from ireasoner.reward_server.errors import EmbeddingFailed, NotReady, Overloaded, RequestTooLarge
from tests.reward_server.letters import Letters, batching, embedded, lengths

SETTLE_S = 0.2
"""Until what was asked for is in the queue."""


def test_order_duplicates_and_equal_lengths() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            texts = ["ccc", "a", "bb", "a", "dd", "ccc"]
            assert lengths(await embedded(batcher, texts)) == [3, 1, 2, 1, 2, 3]
            assert embedder.batches == [[3], [1], [2, 2]]
            assert (await embedded(batcher, [])).shape == (0, 2)

    asyncio.run(scenario())


def test_a_text_is_embedded_once_for_all_callers_and_then_remembered() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            embedder.gate.clear()
            calls = [asyncio.create_task(embedded(batcher, ["a", name])) for name in ("bb", "ccc", "a")]
            await asyncio.sleep(SETTLE_S)
            embedder.gate.set()
            assert [lengths(rows) for rows in await asyncio.gather(*calls)] == [[1, 2], [1, 3], [1, 1]]
            await embedded(batcher, ["ccc", "bb", "a"])
            assert sorted(embedder.tokenized) == ["a", "bb", "ccc"]

    asyncio.run(scenario())


def test_a_failing_batch_fails_only_its_own_callers_and_the_loop_continues() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            texts = [["a"], ["!xyz", "a"], ["untokenizable"], ["bb", "ccc"]]
            ended = await asyncio.gather(*(embedded(batcher, each) for each in texts), return_exceptions=True)
            assert [isinstance(each, EmbeddingFailed) for each in ended] == [False, True, True, False]
            assert "out of memory" in str(ended[1])
            assert "no tokens" in str(ended[2])
            assert lengths(await embedded(batcher, ["dddd"])) == [4]
            assert batcher.last_pass is not None
            assert batcher.last_pass.error is None

    asyncio.run(scenario())


def test_the_last_pass_shows_a_failure_until_a_probe_succeeds() -> None:
    async def scenario() -> None:
        async with batching(Letters()) as batcher:
            with pytest.raises(EmbeddingFailed):
                await embedded(batcher, ["!"])
            assert batcher.last_pass is not None
            assert "MemoryError" in str(batcher.last_pass.error)
            await batcher.probe()
            assert batcher.last_pass.error is None

    asyncio.run(scenario())


def test_a_text_without_tokens_or_a_finite_row_has_a_zero_row() -> None:
    async def scenario() -> None:
        async with batching(Letters()) as batcher:
            assert lengths(await embedded(batcher, ["", "a", "?", "b"])) == [0, 1, 0, 1]

    asyncio.run(scenario())


def test_a_row_that_is_not_finite_is_computed_again() -> None:
    async def scenario() -> None:
        letters = Letters()
        async with batching(letters) as batcher:
            for _ in range(2):
                await embedded(batcher, ["?", "a"])
        assert letters.tokenized == ["?", "a", "?"]

    asyncio.run(scenario())


def test_a_probe_leaves_an_equal_text_in_the_queue() -> None:
    async def scenario() -> None:
        letters = Letters()
        async with batching(letters) as batcher:
            letters.gate.clear()
            waiting = [asyncio.create_task(embedded(batcher, [text])) for text in ("a", "bb", "ccc", "probe")]
            await asyncio.sleep(SETTLE_S)
            probing = asyncio.create_task(batcher.probe())
            await asyncio.sleep(SETTLE_S)
            letters.gate.set()
            async with asyncio.timeout(10):
                assert [lengths(rows) for rows in await asyncio.gather(*waiting)] == [[1], [2], [3], [5]]
                await probing

    asyncio.run(scenario())


def test_the_queue_is_bounded_and_accepts_all_texts_of_a_call_or_none() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder, max_queue_texts=5) as batcher:
            with pytest.raises(RequestTooLarge):
                await embedded(batcher, ["a", "b", "c", "d", "e"])
            embedder.gate.clear()
            first = asyncio.create_task(embedded(batcher, ["a", "b", "c"]))
            await asyncio.sleep(SETTLE_S)
            with pytest.raises(Overloaded) as refused:
                await embedded(batcher, ["d", "e"])
            assert refused.value.retry_after_s == 1
            second = asyncio.create_task(embedded(batcher, ["d", "a", "a"]))
            await asyncio.sleep(SETTLE_S)
            embedder.gate.set()
            assert [lengths(rows) for rows in await asyncio.gather(first, second)] == [[1, 1, 1], [1, 1, 1]]
            assert lengths(await embedded(batcher, ["w", "x", "y", "z"])) == [1, 1, 1, 1]
            assert "e" not in embedder.tokenized

    asyncio.run(scenario())


def test_texts_of_a_cancelled_call_are_dropped_unless_others_wait() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            embedder.gate.clear()
            busy = asyncio.create_task(embedded(batcher, ["a"]))
            await asyncio.sleep(SETTLE_S)
            leaving = asyncio.create_task(embedded(batcher, ["gone", "shared"]))
            staying = asyncio.create_task(embedded(batcher, ["shared"]))
            await asyncio.sleep(SETTLE_S)
            leaving.cancel()
            await asyncio.sleep(SETTLE_S)
            embedder.gate.set()
            assert lengths(await staying) == [6]
            await busy
            assert embedder.batches == [[1], [6]]
            assert lengths(await embedded(batcher, ["gone"])) == [4]

    asyncio.run(scenario())


def test_stopping_ends_every_wait() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            embedder.gate.clear()
            waiting = [asyncio.create_task(embedded(batcher, [text])) for text in ("a", "bb")]
            await asyncio.sleep(SETTLE_S)
            await batcher.stop()
            embedder.gate.set()
            ended = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(each) for each in ended] == [NotReady, NotReady]
            with pytest.raises(NotReady):
                await embedded(batcher, ["a"])

    asyncio.run(scenario())


def test_the_cache_drops_the_least_recently_used() -> None:
    row = np.ones(4, np.float32)
    cache = EmbeddingCache(max_bytes=2 * (300 + 4 + 16))
    cache.put("a", row)
    cache.put("b", row)
    assert cache.find(["a"]) == ({"a": row}, [])
    cache.put("c", row)
    assert cache.find("abc") == ({"a": row, "c": row}, ["b"])


def test_an_embedder_that_mixes_lengths_gets_one_batch() -> None:
    letters = Letters()
    letters.mixes_lengths = True

    async def scenario() -> None:
        async with batching(letters, max_batch_tokens=4) as batcher:
            rows = await embedded(batcher, ["abc", "a", "", "abcd" * 3, "ab"])
            assert rows[:, 0].tolist() == [3, 1, 0, 12, 2]

    asyncio.run(scenario())
    assert letters.batches == [[3, 1, 12], [2]]


def test_large_passes_have_few_shapes() -> None:
    async def scenario() -> None:
        embedder = Letters()
        async with batching(embedder) as batcher:
            texts = [f"{number:02d}" for number in range(45)]  # a pass holds 32 of these
            assert lengths(await embedded(batcher, [*texts, "abc"])) == [2] * 45 + [3]
            assert [len(batch) for batch in embedder.batches] == [32, 8, 5, 1]

    asyncio.run(scenario())
