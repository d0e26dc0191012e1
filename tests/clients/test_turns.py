"""Calls of an event loop take turns, in order, and none waits for its turn without a deadline."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ireasoner.clients import AsyncRewardClient, RequestRefused, TimedOut, Unreachable
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.turns import Turns
from tests.clients.answers import GROUPS
from tests.clients.counting_server import served
from tests.clients.lying_server import LyingServer
from tests.moved_clock import MovedClock


async def image_and_score(client: AsyncRewardClient, number: int) -> Any:
    """What an adapter does for one group."""
    await client.put_image(b"%d" % number)
    return await client.score("solver", GROUPS)


def test_calls_beyond_the_connections_take_turns_and_so_do_images() -> None:
    """Nothing but turns reaches the pool of httpx."""
    queued: list[int] = []

    async def run(url: str) -> list[Any]:
        async with AsyncRewardClient(url, timeout_s=20, retry_budget_s=0, max_connections=3) as client:
            calls = [asyncio.create_task(image_and_score(client, number)) for number in range(100)]
            await asyncio.sleep(0.05)
            transport: Any = client._http._transport
            queued.append(len(transport._pool._requests))
            return await asyncio.gather(*calls)

    counts, responses = served(run)
    assert len(responses) == 100
    assert counts.images == 100
    assert counts.most_at_once <= 3
    assert counts.connections <= 3
    assert queued[0] <= 3


def test_siblings_never_wait_behind_each_other() -> None:
    """Each call is held until the third has come, though the client has one connection to score with."""

    async def run(url: str) -> list[Any]:
        async with AsyncRewardClient(url, timeout_s=60, retry_budget_s=0, max_connections=1) as client:
            calls = (
                client.score_in_cohort(f"g{number % 5}", "a", group_size=3, deadline_s=30)
                for number in range(15)
            )
            return await asyncio.gather(*calls, client.score("solver", GROUPS))

    counts, answers = served(run)
    assert {each["partial"] for each in answers[:-1]} == {0.0}
    assert counts.connections >= 3


def test_the_calls_of_an_adapter_to_a_cohort_have_no_limit() -> None:
    """One rollout of each of 30 prompts ends before their siblings do."""

    async def run(url: str) -> list[Any]:
        service = RewardService(url, retry_budget_s=0)
        return await asyncio.gather(
            *(service.score_in_cohort(str(number % 30), "a", 3, 30.0) for number in range(90))
        )

    assert len(served(run)[1]) == 90


def frozen(liar: LyingServer, *_: Any) -> Iterator[bytes]:
    """A server that is frozen until it closes."""
    liar.ends.wait(20)
    yield b""


def test_calls_behind_a_frozen_server_end_with_those_before_them(liar: LyingServer) -> None:
    """One time-out ends them all: 200 in a row would take 200."""
    liar.reply = lambda *sent: frozen(liar, *sent)
    liar.requests.clear()

    async def run() -> list[Any]:
        async with AsyncRewardClient(liar.url, timeout_s=0.5, retry_budget_s=0, max_connections=1) as client:
            calls = (client.score("solver", GROUPS) for _ in range(200))
            return await asyncio.gather(*calls, return_exceptions=True)

    ended = asyncio.run(run())
    assert {type(each) for each in ended} == {TimedOut}
    assert len(liar.requests) <= 2
    assert "no call was answered for" in str(ended[-1])
    assert "/score/solver: no whole answer in time" in str(ended[-1])


def turns_of(
    clock: MovedClock, outcomes: list[tuple[float, Exception | None]], budget_s: float = 10.0
) -> list[float | type[Exception]]:
    """The budgets of calls that come at once and take turns one at a time, or their errors; a time-out is 5 s.

    Args:
        clock: The time.
        outcomes: How long each turn takes, and the error with which it ends.
        budget_s: Of each call.
    """
    turns = Turns("http://a", 1, budget_s, 5.0)
    budgets: list[float | type[Exception]] = []

    async def call(seconds: float, error: Exception | None) -> None:
        try:
            async with turns.turn() as left_s:
                budgets.append(left_s)
                await asyncio.sleep(0)
                clock.now_s += seconds
                if error is not None:
                    raise error
        except TimedOut:
            budgets.append(TimedOut)
        except (Unreachable, RequestRefused):
            pass

    async def run() -> None:
        await asyncio.gather(*(call(*each) for each in outcomes))

    asyncio.run(run())
    return budgets


DOWN = Unreachable("http://a: nobody")
REFUSED = RequestRefused(422, "malformed", "no")


@pytest.mark.parametrize(
    ("outcomes", "budgets"),
    [
        ([(8, None)] * 9, [10.0] * 9),
        ([(8, REFUSED)] * 4, [10.0] * 4),
        ([(8, DOWN)] * 4, [10.0, 2.0, TimedOut, TimedOut]),
        ([(8, DOWN), (1, None), (8, DOWN), (0, None)], [10.0, 2.0, 10.0, 2.0]),
        ([(0, DOWN)] * 4, [10.0] * 4),
        ([(10, DOWN), (1, DOWN), (0, None)], [10.0, 0.0, TimedOut]),
    ],
    ids=["slow", "refusals", "down", "down for a while", "quick errors", "spent"],
)
def test_only_waiting_behind_calls_without_an_answer_costs_budget(
    outcomes: list[tuple[float, Exception | None]],
    budgets: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert turns_of(MovedClock.of(monkeypatch, "ireasoner.clients.turns"), outcomes) == budgets


def test_without_retries_one_broken_connection_is_no_reason_to_give_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = turns_of(
        MovedClock.of(monkeypatch, "ireasoner.clients.turns"),
        [(1, None), (1, DOWN), (1, None), (4, DOWN), (2, DOWN), (0, None)],
        0.0,
    )
    assert given == [0.0, 0.0, 0.0, 0.0, 0.0, TimedOut]


def test_images_behind_a_frozen_server_are_left_out(liar: LyingServer) -> None:
    liar.reply = lambda *sent: frozen(liar, *sent)
    liar.requests.clear()

    async def run() -> list[str]:
        async with AsyncRewardClient(liar.url, timeout_s=2, retry_budget_s=0, max_connections=1) as client:
            return await asyncio.gather(*(client.put_image(b"%d" % number) for number in range(50)))

    assert len(set(asyncio.run(run()))) == 50
    assert len(liar.requests) == 1
