"""A child process answers in order, fails one question at a time, and is gone when it died, hung or was stopped."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from ireasoner.reward_server.child_process import (
    ChildDied,
    ChildHung,
    ChildProcess,
    ChildRefused,
    Header,
    _pack,
)
from tests.rollout_server.running import left_running

DEADLINE_S = 60.0


async def start(load: Header) -> ChildProcess:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return await ChildProcess.start("echo", "tests.reward_server.echo_child", load, DEADLINE_S, environment)


def run(scenario: Callable[[ChildProcess], Awaitable[None]]) -> None:
    """Runs a scenario with a child, which must have ended afterwards."""

    async def started() -> int:
        child = await start({"loaded": 1})
        assert child.loaded == {"loaded": 1}
        try:
            await scenario(child)
        finally:
            await child.stop()
        assert not child.is_running
        return child.pid

    assert not psutil.pid_exists(asyncio.run(started()))


def test_answers_come_in_order_with_their_payloads() -> None:
    async def scenario(child: ChildProcess) -> None:
        payloads = [os.urandom(size) for size in (0, 1, 2**20, 7)]
        asked = [child.ask({"n": n}, each, deadline_s=DEADLINE_S) for n, each in enumerate(payloads)]
        assert await asyncio.gather(*asked) == [({"n": n}, each) for n, each in enumerate(payloads)]

    run(scenario)


def test_a_failing_question_fails_alone() -> None:
    async def scenario(child: ChildProcess) -> None:
        asked = [child.ask(header, deadline_s=DEADLINE_S) for header in ({"fail": "no"}, {"n": 1})]
        failed, answered = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(failed, ChildRefused)
        assert str(failed) == "ValueError: no"
        assert answered == ({"n": 1}, b"")

    run(scenario)


def test_the_answer_to_a_caller_that_left_is_nobody_elses() -> None:
    async def scenario(child: ChildProcess) -> None:
        leaving = asyncio.create_task(child.ask({"n": 1}, deadline_s=DEADLINE_S))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await child.ask({"n": 2}, deadline_s=DEADLINE_S) == ({"n": 2}, b"")

    run(scenario)


def test_a_death_fails_every_question_and_says_how_the_child_ended() -> None:
    async def scenario(child: ChildProcess) -> None:
        asked = [child.ask(header, deadline_s=DEADLINE_S) for header in ({"exit": 3}, {"n": 1})]
        failed = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in failed] == [ChildDied, ChildDied]
        assert [each.status for each in failed if isinstance(each, ChildDied)] == [3, 3]
        assert await child.ended() == f"the echo {child.pid} ended with 3"
        with pytest.raises(ChildDied):
            await child.ask({}, deadline_s=DEADLINE_S)

    run(scenario)


def test_a_child_that_hangs_is_killed_at_the_deadline() -> None:
    async def scenario(child: ChildProcess) -> None:
        with pytest.raises(ChildHung):
            await child.ask({"hang": True}, deadline_s=0.2)
        assert await child.ended() == f"the echo {child.pid} got signal {signal.SIGKILL.value}"

    run(scenario)


def test_a_child_whose_answers_cannot_be_read_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(child: ChildProcess) -> None:
        with pytest.raises(ChildDied, match=f"got signal {signal.SIGKILL.value}"):
            await child.ask({"garble": True}, deadline_s=DEADLINE_S)

    run(scenario)
    assert "wrote something that is not an answer" in caplog.text


def test_signals_to_end_are_left_to_the_server() -> None:
    async def scenario(child: ChildProcess) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(child.pid, number)
        assert await child.ask({"n": 1}, deadline_s=DEADLINE_S) == ({"n": 1}, b"")

    run(scenario)


def test_a_child_that_cannot_load_is_not_left_behind() -> None:
    async def scenario() -> list[int]:
        with pytest.raises(ChildRefused, match="ValueError: no model"):
            await start({"fail": "no model"})
        with pytest.raises(ChildDied, match="ended with 4"):
            await start({"exit": 4})
        return [each.pid for each in psutil.Process().children()]

    before = [each.pid for each in psutil.Process().children()]
    assert asyncio.run(scenario()) == before


PARENT = """
import asyncio, sys
from tests.reward_server.test_child_process import start

async def main() -> None:
    child = await start({"loaded": 1})
    asked = asyncio.create_task(child.ask({"hang": True}, deadline_s=600))
    print(child.pid, flush=True)
    await asked

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child that does not look")
@pytest.mark.parametrize("stopped", [False, True])
def test_a_busy_child_ends_with_its_parent(stopped: bool) -> None:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if stopped:
            child.suspend()
        parent.kill()
    assert left_running([child.pid]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child that does not look")
def test_a_child_whose_parent_died_before_it_was_up_does_not_load() -> None:
    command = [sys.executable, "-m", "tests.reward_server.echo_child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        ended = child.communicate(_pack({"hang": True}, b""), timeout=DEADLINE_S)
    assert (child.returncode, ended[0]) == (0, b"")


def test_nothing_is_imported_from_the_current_folder() -> None:
    async def scenario(child: ChildProcess) -> None:
        header, _ = await child.ask({"path": True}, deadline_s=DEADLINE_S)
        path = [Path(each).resolve() for each in header["path"] if each]
        assert "" not in header["path"]
        assert path.count(Path(header["folder"])) == 1, "as PYTHONPATH alone has it"

    run(scenario)
