"""What long work prints if the console is not a terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from ireasoner.trainer.monitoring.progress import UpdateProgress, progress_bar
from ireasoner.trainer.monitoring.server_wait import ServerWait
from tests.moved_clock import MovedClock


def shown(pause_s: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines printed about four pieces of work that take `pause_s` each."""
    clock = MovedClock.of(monkeypatch, "ireasoner.trainer.monitoring.progress")
    output = io.StringIO()
    with progress_bar(Console(file=output, force_terminal=False)) as bar:
        task = bar.add_task("evaluate base", total=256)
        for _ in range(4):
            clock.now_s += pause_s
            bar.advance(task, 64)
    return output.getvalue().splitlines()


def test_slow_work_prints_lines_along_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(10.0, monkeypatch)
    assert [line.split(" after ")[0] for line in lines] == [
        "evaluate base: 128 of 256",
        "evaluate base: 256 of 256",
    ]


def test_quick_work_prints_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = shown(0.1, monkeypatch)
    assert line.startswith("evaluate base: 256 of 256 after")


def test_updates_are_counted_and_the_legend_explains_the_words_once(
    tmp_path: Path,
) -> None:
    output = io.StringIO()
    progress = UpdateProgress(Console(file=output, width=60), line_every=1)
    arguments, control = TrainingArguments(str(tmp_path), report_to="none"), TrainerControl()
    state = TrainerState(max_steps=96)
    logs = {
        "solver/loss": 0.1,
        "solver/trajectory": 0.25,
        "solver/dominant_share": 0.5,
        "solver/no_spread_rate": 0.0,
    }
    progress.on_train_begin(arguments, state, control)
    for state.global_step in (1, 2):
        progress.on_log(arguments, state, control, logs=logs)
    progress.on_train_end()
    legend, *updates = output.getvalue().splitlines()
    assert [line.split("  solver")[0] for line in updates] == ["update  1 of 96", "update  2 of 96"]
    for word in ("trajectory", "share", "no spread"):
        assert f"{word}: " in legend
        assert f"{word} 0." in updates[0]


def test_a_resumed_run_says_where_it_begins(tmp_path: Path) -> None:
    for done, expected in (
        (0, []),
        (60, ["resumed: 60 of 100 updates are done; the run goes on with update 61"]),
    ):
        output = io.StringIO()
        bar = UpdateProgress(Console(file=output, width=40), line_every=1)
        bar.on_train_begin(
            TrainingArguments(output_dir=str(tmp_path)),
            TrainerState(global_step=done, max_steps=100),
            TrainerControl(),
        )
        bar.stop()
        assert [line for line in output.getvalue().splitlines() if "resumed" in line] == expected


def test_many_tries_of_many_requests_print_one_line_every_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = MovedClock.of(monkeypatch, "ireasoner.trainer.monitoring.server_wait")
    output = io.StringIO()
    wait = ServerWait(Console(file=output, width=40), "rollout-server --model m --port 8020")
    for second in range(70):
        for _ in range(8):
            wait(f"rollout server: [Errno 111] Connection refused; retrying for another {300 - second} s")
        clock.now_s += 1
    assert output.getvalue().splitlines() == [
        "rollout server: [Errno 111] Connection refused; retrying for another 300 s "
        "(start it with: rollout-server --model m --port 8020)",
        "rollout server: [Errno 111] Connection refused; retrying for another 270 s",
        "rollout server: [Errno 111] Connection refused; retrying for another 240 s",
    ]
