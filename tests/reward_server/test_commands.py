"""What the reward server's subcommands of `ireasoner` have in common: progress, and how they end."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ireasoner.reward_server.commands import command
from ireasoner.reward_server.commands.command import CommandSettings, InputError, Progress, run_command
from tests.moved_clock import MovedClock
from tests.reward_server.past_runs import run_line, write_run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock.of(monkeypatch, command.__name__)


def test_a_log_gets_a_line_of_progress_now_and_then(
    clock: MovedClock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress()
    for second in range(40):
        clock.now_s += 1
        progress.show(f"at {second}")
    progress.end()
    assert capsys.readouterr().err == "at 14\nat 29\n"


def test_a_terminal_gets_one_line_that_is_removed(
    clock: MovedClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = Progress()
    for _ in range(3):
        progress.show("now")
        clock.now_s += 0.15
    progress.end()
    progress.end()
    assert capsys.readouterr().err == "\rnow\x1b[K\rnow\x1b[K\r\x1b[K"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("x is wrong"), 2, "ireasoner x: x is wrong\n"),
        (KeyboardInterrupt(), 130, "ireasoner x: interrupted\n"),
        (sqlite3.DatabaseError("malformed"), 2, "ireasoner x: the ledger cannot be used: malformed\n"),
        (
            sqlite3.OperationalError("disk is full"),
            2,
            "ireasoner x: the ledger cannot be used: disk is full\n",
        ),
        (FileNotFoundError(2, "No such file or directory", "gone"), 2, "ireasoner x: gone: No such file"),
    ],
)
def test_an_error_that_a_user_can_act_on_has_no_trace(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_: CommandSettings) -> int:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_command("ireasoner x", CommandSettings, work, [])
    assert ended.value.code == status
    assert capsys.readouterr().err.startswith(said)


def test_a_defect_has_a_trace() -> None:
    def work(_: CommandSettings) -> int:
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        run_command("ireasoner x", CommandSettings, work, [])


def test_a_reader_that_closes_the_output_ends_the_command_quietly(tmp_path: Path) -> None:
    for name in range(400):
        write_run(tmp_path / f"run{name}", [run_line(0, ["7"])])
    audit = [sys.executable, "-P", "-m", "ireasoner.cli", "audit", "--json"]
    process = subprocess.Popen(
        [*audit, *(f"run{name}" for name in range(400))],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(120) == 128 + 13
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
