"""Reading a group keeps the event loop free: long rollouts are read in a thread, short ones at once."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.memory import Claim, Memory
from ireasoner.reward_server.scoring.pace import Pace
from ireasoner.reward_server.scoring.read_group import read_group
from ireasoner.reward_server.scoring_config import PAPER
from ireasoner.reward_server.wire import Group
from ireasoner.reward_server.worker_threads import WorkerThreads

T = TypeVar("T")


class Counting(WorkerThreads):
    """Does its work at once, and counts it."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self, work: Callable[[], T], claim: Claim) -> T:
        self.count += 1
        return work()


@pytest.mark.parametrize(
    ("rollouts", "in_thread"),
    [
        ([{"text": "答案\n" * 26_666}], 1),
        ([{"text": "Step 1" * 2_000}] * 3, 3),
        ([{"answer": "7", "steps": ["a" * 10_000]}, {"text": "a" * 100}], 1),
        ([{"answer": "7", "steps": ["a" * 1_000] * 10}, {"text": "a" * 100}], 1),
        ([{"text": "答案\n" * 2_000}] * 4, 0),
        ([{"text": "<think>1. a</think><answer>7</answer>"}] * 64, 0),
    ],
)
def test_long_rollouts_are_read_in_a_thread_one_by_one(
    rollouts: list[dict[str, object]], in_thread: int
) -> None:
    group = Group.model_validate(
        {"id": "group", "rollouts": [{"id": str(index), **each} for index, each in enumerate(rollouts)]}
    )
    thread = Counting()
    read = asyncio.run(read_group(group, PAPER, ExpressionComparer(), Pace(thread, Memory(1).claim())))
    assert len(read.rollouts) == len(rollouts)
    assert thread.count == in_thread
