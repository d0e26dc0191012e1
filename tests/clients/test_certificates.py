"""A client reads the trusted certificates once, however many connections it makes, and only for https."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest

from ireasoner.clients import AsyncRewardClient, RewardClient, Unreachable
from tests.rollout_server.running import free_port

CALLS = 3


def call(url: str) -> None:
    with RewardClient(url, retry_budget_s=0) as client:
        for _ in range(CALLS):
            with pytest.raises(Unreachable):
                client.score_in_cohort("g", "7", group_size=2, deadline_s=1)
        with suppress(Unreachable):
            client.scoring_config("paper")


def call_async(url: str) -> None:
    async def calls() -> None:
        async with AsyncRewardClient(url, retry_budget_s=0) as client:
            for _ in range(CALLS):
                with pytest.raises(Unreachable):
                    await client.score_in_cohort("g", "7", group_size=2, deadline_s=1)
            with suppress(Unreachable):
                await client.scoring_config("paper")

    asyncio.run(calls())


@pytest.mark.parametrize("call", [call, call_async])
@pytest.mark.parametrize(("scheme", "expected"), [("https", 1), ("http", 0)])
def test_certificates_are_read_once(
    call: Callable[[str], None], scheme: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[ssl.SSLContext] = []
    read = httpx.create_ssl_context

    def counted() -> ssl.SSLContext:
        contexts.append(read())
        return contexts[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", counted)
    call(f"{scheme}://127.0.0.1:{free_port()}")
    assert len(contexts) == expected
