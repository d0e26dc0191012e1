"""Reward functions that share a batch, of which one is cancelled."""

import asyncio
from typing import Any

import pytest

from ireasoner.clients import RewardError
from ireasoner.clients.shared_batches import SharedBatches


def outcomes(cancelled: int) -> list[Any]:
    """What three readers of one batch get, of which one is cancelled while the first computes."""

    async def run() -> list[Any]:
        batch, shared = object(), SharedBatches[str](3)
        may_end = asyncio.Event()

        async def compute() -> str:
            await may_end.wait()
            return "done"

        readers = [asyncio.create_task(shared.call_async(batch, compute)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        readers[cancelled].cancel()
        await asyncio.sleep(0)
        may_end.set()
        return await asyncio.gather(*readers, return_exceptions=True)

    return [each if isinstance(each, str) else type(each) for each in asyncio.run(run())]


@pytest.mark.parametrize(
    ("cancelled", "got"),
    [
        (0, [asyncio.CancelledError, RewardError, RewardError]),
        (1, ["done", asyncio.CancelledError, "done"]),
        (2, ["done", "done", asyncio.CancelledError]),
    ],
)
def test_one_cancelled_reader_leaves_the_others_their_result(cancelled: int, got: list[Any]) -> None:
    assert outcomes(cancelled) == got


def test_an_interrupted_computation_is_an_error_for_the_others() -> None:
    batch, shared = object(), SharedBatches[str](2)

    def interrupted() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shared.call(batch, interrupted)
    with pytest.raises(RewardError, match="KeyboardInterrupt"):
        shared.call(batch, interrupted)
