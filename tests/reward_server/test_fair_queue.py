"""Who gets the next turn of something that one caller at a time may use."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from ireasoner.reward_server.answers.fair_queue import FairQueue
from ireasoner.reward_server.fair_shares import FairShares


def turns(costs: dict[str, int], count: int) -> str:
    """Who gets the next `count` turns, where each of a caller costs so much, and all always wait."""
    shares: FairShares[str] = FairShares()
    order = []
    for caller in costs:
        shares.enter(caller)
    for _ in range(count):
        order.append(shares.turns(costs)[0])
        shares.charge(order[-1], costs[order[-1]])
    return "".join(order)


@pytest.mark.parametrize(
    ("costs", "order"),
    [
        ({"a": 1}, "aaaa"),
        ({"a": 1, "b": 1}, "abababab"),
        ({"a": 0, "b": 0, "c": 0}, "abcabcabc"),
        ({"a": 3, "b": 1}, "abbbabbbabbb"),
    ],
)
def test_callers_use_equal_parts(costs: dict[str, int], order: str) -> None:
    assert turns(costs, len(order)) == order


def test_what_callers_use_stays_within_one_turn_of_each_other() -> None:
    costs = {"a": 1, "b": 7, "c": 3, "d": 2}
    order = turns(costs, 200)
    for end in range(1, len(order)):
        used = [order[:end].count(caller) * cost for caller, cost in costs.items()]
        assert max(used) - min(used) <= max(costs.values())


def test_who_comes_later_is_next_but_makes_up_for_nothing() -> None:
    shares: FairShares[str] = FairShares()
    shares.enter("a")
    for _ in range(1000):
        assert shares.turns("a") == ["a"]
        shares.charge("a", 10)
    order = []
    shares.enter("b")
    for _ in range(6):
        order.append(shares.turns("ab")[0])
        shares.charge(order[-1], 10)
    assert order == ["b", "a", "b", "a", "b", "a"]


def test_a_stream_of_new_callers_does_not_hold_up_one_who_waits() -> None:
    shares: FairShares[str] = FairShares()
    shares.enter("waits")
    shares.turns(["waits"])
    shares.charge("waits", 100)
    order = []
    for number in range(6):
        shares.enter(f"new {number}")
        order.append(shares.turns(["waits", f"new {number}"])[0])
        shares.charge(order[-1], 1)
        shares.leave(f"new {number}")
    assert order.count("waits") == 3


def test_a_caller_who_does_not_wait_is_passed_over() -> None:
    shares: FairShares[str] = FairShares()
    for caller in "abc":
        shares.enter(caller)
    assert shares.turns("ca") == ["a", "c"]
    shares.leave("a")
    shares.leave("never there")
    assert shares.turns("abc") == ["b", "c"]


async def taken(callers: Sequence[tuple[str, float]], cancelled: Sequence[str] = ()) -> list[str]:
    """The order in which callers, who each used so much before, get a turn while another holds it."""
    queue = FairQueue()
    order: list[str] = []

    async def take(name: str) -> None:
        async with queue.take(name):
            order.append(name)

    with ExitStack() as visits:
        for name, used in [("holder", 0.0), *callers]:
            visits.enter_context(queue.visit(name, 0.0))
            queue.charge(name, used)
        async with queue.take("holder"):
            tasks = {name: asyncio.create_task(take(name)) for name, _ in callers}
            await asyncio.sleep(0)
            for name in cancelled:
                tasks[name].cancel()
            await asyncio.sleep(0)
        await asyncio.wait(tasks.values(), timeout=5)
        async with queue.take("holder"):
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
            async with queue.take(name):
                order.append(name)

        for name in ("holder", "first", "second"):
            visits.enter_context(queue.visit(name, 0.0))
        async with queue.take("holder"):
            first, second = asyncio.create_task(take("first")), asyncio.create_task(take("second"))
            await asyncio.sleep(0)
        queue._pass_on()
        first.cancel()
        await asyncio.wait([first, second], timeout=5)
        return order

    with ExitStack() as visits:
        assert asyncio.run(scenario()) == ["second"]
