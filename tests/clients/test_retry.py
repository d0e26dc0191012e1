"""The retry loop: what it retries, how long it waits, and when it stops."""

import asyncio
import random
from collections.abc import Callable

import pytest

from ireasoner.clients import Overloaded, RequestRefused, Unreachable
from ireasoner.clients.retry import Retry


def failing(times: int, error: Exception) -> tuple[Callable[[], str], list[int]]:
    """A call that raises `error` so often before it returns, and the list of its tries."""
    tries: list[int] = []

    def attempt() -> str:
        tries.append(len(tries))
        if len(tries) <= times:
            raise error
        return "done"

    return attempt, tries


def by_call(retry: Retry, attempt: Callable[[], str]) -> str:
    return retry.call(attempt)


def by_call_async(retry: Retry, attempt: Callable[[], str]) -> str:
    async def attempt_async() -> str:
        return attempt()

    return asyncio.run(retry.call_async(attempt_async))


BOTH = pytest.mark.parametrize("call", [by_call, by_call_async])
Call = Callable[[Retry, Callable[[], str]], str]


@BOTH
def test_an_error_that_may_pass_is_retried(call: Call) -> None:
    attempt, tries = failing(2, Unreachable("nobody"))
    assert call(Retry(30), attempt) == "done"
    assert len(tries) == 3


@BOTH
@pytest.mark.parametrize("error", [RequestRefused(422, "invalid", "no"), ValueError("no")])
def test_any_other_error_is_raised_at_once(call: Call, error: Exception) -> None:
    attempt, tries = failing(2, error)
    with pytest.raises(type(error)):
        call(Retry(30), attempt)
    assert len(tries) == 1


@BOTH
def test_a_budget_of_zero_allows_one_try(call: Call) -> None:
    attempt, tries = failing(1, Unreachable("nobody"))
    with pytest.raises(Unreachable):
        call(Retry(0), attempt)
    assert len(tries) == 1


@BOTH
def test_the_last_try_starts_when_the_budget_ends(call: Call) -> None:
    attempt, tries = failing(10_000, Unreachable("nobody"))
    with pytest.raises(Unreachable):
        call(Retry(0.3), attempt)
    assert 2 <= len(tries) < 10_000


def test_the_servers_retry_after_is_the_shortest_delay() -> None:
    error = Overloaded(429, "overloaded", "full", retry_after_s=7.0)
    assert 7.0 <= Retry(100).delay_s(error) <= 7.1


def test_a_retry_after_beyond_the_budget_is_not_waited_for() -> None:
    error = Overloaded(429, "overloaded", "full", retry_after_s=3600.0)
    with pytest.raises(Overloaded):
        Retry(100).delay_s(error)


def test_delays_double_up_to_their_bound_and_never_exceed_the_budget() -> None:
    retry = Retry(10_000, longest_delay_s=0.4)
    for bound in (0.1, 0.2, 0.4, 0.4, 0.4):
        assert 0 <= retry.delay_s(Unreachable("nobody")) <= bound
    error = Overloaded(429, "overloaded", "full", retry_after_s=0.95)
    assert Retry(1.0).delay_s(error) <= 1.0


def test_a_server_that_has_died_is_not_waited_for() -> None:
    attempt, tries = failing(10, Unreachable("nobody"))
    with pytest.raises(Unreachable):
        Retry(3600, is_alive=lambda: False).call(attempt)
    assert len(tries) == 1


def test_a_server_that_dies_during_a_delay_ends_it() -> None:
    alive = iter([True])
    error = Overloaded(429, "overloaded", "full", retry_after_s=3600.0)
    attempt, tries = failing(10, error)
    with pytest.raises(Overloaded):
        Retry(10_000, is_alive=lambda: next(alive, False)).call(attempt)
    assert len(tries) == 2


def test_long_delays_are_reported_and_short_ones_are_not() -> None:
    reported: list[float] = []
    retry = Retry(10_000, on_wait=lambda _, left_s: reported.append(left_s))
    for _ in range(6):
        retry.delay_s(Unreachable("nobody"))
    assert len(reported) == 2, "the bounds are 0.1, 0.2, 0.4, 0.8, 1.6 and 3.2 s"
    assert all(9_000 < left_s <= 10_000 for left_s in reported)


def test_a_delay_leaves_the_callers_random_state_alone() -> None:
    before = random.getstate()
    Retry(100).delay_s(Unreachable("nobody"))
    assert random.getstate() == before
