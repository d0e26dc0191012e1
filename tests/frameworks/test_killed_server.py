"""A reward server that is killed in the middle of cohorts: real processes, real HTTP."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ireasoner.clients import AsyncRewardClient, ConnectionBroken, Unreachable
from tests.frameworks.conftest import Solver
from tests.frameworks.rollouts import GROUPS, neutral
from tests.reward_server.processes import server
from tests.reward_server.test_cohorts import talk, waiting
from tests.rollout_server.running import free_port

PATIENCE_S = 60.0
EARLY, LATE = slice(3), slice(3, None)
Answer = dict[str, float]


@pytest.fixture
def flags(compass: Path) -> list[str]:
    """The flags of a server that starts fast and always listens on the same port."""
    port = str(free_port())
    return ["--port", port, "--embedder", "token-mean", "--token-mean-checkpoint", str(compass)]


@contextmanager
def until_killed(log: Path, flags: Sequence[str]) -> Iterator[str]:
    """A server process that is killed with SIGKILL at the end of the context."""
    with server(log, *flags) as started:
        yield started.url
        started.process.kill()
        assert started.process.wait(PATIENCE_S) == -signal.SIGKILL


async def calls(url: str, part: slice, retry_budget_s: float) -> list[list[Answer | BaseException]]:
    """The results of one call per rollout of `part` of every group, within `PATIENCE_S`."""
    async with (
        asyncio.timeout(PATIENCE_S),
        AsyncRewardClient(url, timeout_s=PATIENCE_S, retry_budget_s=retry_budget_s) as client,
    ):
        return await asyncio.gather(
            *(
                asyncio.gather(
                    *(
                        client.score_in_cohort(prompt, text, group_size=len(texts), deadline_s=PATIENCE_S / 2)
                        for text in texts[part]
                    ),
                    return_exceptions=True,
                )
                for prompt, texts in GROUPS.items()
            )
        )


def test_callers_reach_the_next_server(flags: list[str], tmp_path: Path, solver: Solver) -> None:
    """The first server dies with two incomplete cohorts; in the next both are complete and scored separately."""
    with ThreadPoolExecutor() as pool:
        with until_killed(tmp_path / "first", flags) as url:
            early = pool.submit(asyncio.run, calls(url, EARLY, PATIENCE_S))
            talk(url, lambda http: waiting(http, 3 * len(GROUPS)))
        with until_killed(tmp_path / "second", flags):
            late = pool.submit(asyncio.run, calls(url, LATE, PATIENCE_S))
            halves = zip(early.result(PATIENCE_S), late.result(PATIENCE_S), strict=True)
    for texts, (first, second) in zip(GROUPS.values(), halves, strict=True):
        answers = [each for each in first + second if not isinstance(each, BaseException)]
        assert [each["reward"] for each in answers] == neutral(solver(texts))
        assert [each["partial"] for each in answers] == [0.0] * len(texts)


def test_callers_of_a_server_that_stays_dead_get_an_error(flags: list[str], tmp_path: Path) -> None:
    """Each call raises a typed error once its retry budget is spent; none returns a number."""
    with ThreadPoolExecutor() as pool:
        with until_killed(tmp_path / "log", flags) as url:
            early = pool.submit(asyncio.run, calls(url, EARLY, 1.0))
            talk(url, lambda http: waiting(http, 3 * len(GROUPS)))
        ended = [each for group in early.result(PATIENCE_S) for each in group]
    assert len(ended) == 3 * len(GROUPS)
    assert all(isinstance(each, Unreachable | ConnectionBroken) for each in ended), ended
