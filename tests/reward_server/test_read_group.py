"""Reading a group keeps the event loop free: long rollouts are read in a thread, short ones at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.scoring.pace import Pace
from ireasoner.reward_server.scoring.read_group import read_group
from ireasoner.reward_server.scoring_config import PAPER
from ireasoner.reward_server.wire import Group


class Counting(Executor):
    """Does its work at once, and counts it."""

    def __init__(self) -> None:
        self.count = 0

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        done: Future[Any] = Future()
        done.set_result(work(*args, **kwargs))
        return done


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
    read = asyncio.run(read_group(group, PAPER, ExpressionComparer(), Pace(thread)))
    assert len(read.rollouts) == len(rollouts)
    assert thread.count == in_thread
