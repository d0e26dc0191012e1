"""Callers that post groups to the reward server all the time, and compare every reward with the first one."""

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

from ireasoner.clients import AsyncRewardClient, Group, Rollout
from tests.reward_server.requests import rollout

CALLERS = 2
GROUPS = 100
PAUSE_S = 0.2
RETRY_BUDGET_S = 600.0
WORDS = ("the", "row", "reads", "two", "and", "three", "so", "its", "sum", "is", "five")

Rewards = tuple[tuple[str, float | None], ...]


def group(number: int) -> Group:
    """A group whose steps are in no other group."""
    texts = (
        rollout("7", *(f"{' '.join(WORDS[: 8 + step])} {number} {member} {step}" for step in range(3)))
        for member in range(4)
    )
    return Group(str(number), [Rollout(str(member), text) for member, text in enumerate(texts)])


class Callers:
    """Posts `GROUPS` groups again and again, in a thread, until the block ends; nobody gives up.

    Attributes:
        posted: How often each group was posted.
        answers: How often each group was answered.
        rewards: The rewards that each group had first.
        others: Answers that differ from the first one.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="callers")
        self.posted: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.rewards: dict[str, Rewards] = {}
        self.others: list[Rewards] = []

    def __enter__(self) -> Self:
        self._calling = self._pool.submit(lambda: asyncio.run(self._call()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._pool.shutdown(wait=False)
        if kind is None:
            self._calling.result(RETRY_BUDGET_S)
        else:  # a server may be gone for good
            self._give_up()

    async def _call(self) -> None:
        calling = asyncio.current_task()
        assert calling is not None
        self._give_up = partial(asyncio.get_running_loop().call_soon_threadsafe, calling.cancel)
        async with AsyncRewardClient(self._url, retry_budget_s=RETRY_BUDGET_S) as client:
            await asyncio.gather(*(self._caller(client, first) for first in range(CALLERS)))

    async def _caller(self, client: AsyncRewardClient, first: int) -> None:
        number = first
        while not self._stopping.is_set():
            sent = group(number % GROUPS)
            self.posted[sent.id] += 1
            [scored] = (await client.score("solver", [sent])).groups
            assert scored.id == sent.id
            self.answers[sent.id] += 1
            rewards = tuple((each.id, each.reward) for each in scored.rollouts)
            if self.rewards.setdefault(sent.id, rewards) != rewards:
                self.others.append(rewards)
            number += CALLERS
            await asyncio.sleep(PAUSE_S)
