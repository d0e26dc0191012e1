"""Who gets the next turn of something that one caller at a time may use."""

import asyncio
from collections.abc import Sequence

from ireasoner.reward_server.answers.fair_queue import FairQueue


async def taken(callers: Sequence[tuple[str, float]], cancelled: Sequence[str] = ()) -> list[str]:
    """The order in which callers, who each used so much before, get a turn while another holds it."""
    queue = FairQueue()
    order: list[str] = []

    async def take(name: str, used: float) -> None:
        async with queue.take(used):
            order.append(name)

    async with queue.take(0):
        tasks = {name: asyncio.create_task(take(name, used)) for name, used in callers}
        await asyncio.sleep(0)
        for name in cancelled:
            tasks[name].cancel()
        await asyncio.sleep(0)
    await asyncio.wait(tasks.values(), timeout=5)
    async with queue.take(0):
        order.append("end")
    return order


def test_who_used_the_least_is_next_and_among_equals_who_waits_longest() -> None:
    callers = [("much", 2.0), ("first", 0.5), ("second", 0.5), ("none", 0.0)]
    assert asyncio.run(taken(callers)) == ["none", "first", "second", "much", "end"]


def test_a_caller_who_gave_up_is_passed_over() -> None:
    callers = [("gone", 0.0), ("waits", 1.0)]
    assert asyncio.run(taken(callers, cancelled=["gone"])) == ["waits", "end"]


def test_a_turn_that_comes_with_a_cancellation_is_passed_on() -> None:
    async def scenario() -> list[str]:
        queue = FairQueue()
        order: list[str] = []

        async def take(name: str) -> None:
            async with queue.take(0):
                order.append(name)

        async with queue.take(0):
            first, second = asyncio.create_task(take("first")), asyncio.create_task(take("second"))
            await asyncio.sleep(0)
        queue._pass_on()
        first.cancel()
        await asyncio.wait([first, second], timeout=5)
        return order

    assert asyncio.run(scenario()) == ["second"]
