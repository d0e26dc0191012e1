"""What the console shows during a run: a legend, a progress bar, and a line every few updates."""

import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LINE_EVERY_S = 15.0
"""Seconds between progress lines if the console is not a terminal."""

_LINE_AT_LEAST_EVERY_S = 60.0
_SHOWN = (
    ("reward", "reward", ".3f"),
    ("outcome", "outcome", ".3f"),
    ("trajectory", "trajectory", ".3f"),
    ("answer_entropy_nats", "entropy", ".3f"),
    ("dominant_share", "share", ".2f"),
    ("invalid_rate", "invalid", ".2f"),
    ("no_spread_rate", "no spread", ".2f"),
    ("kl", "KL", ".4f"),
)
_LEGEND = (
    "trajectory: reward for the steps of a rollout; share: share of the dominant answer; "
    "no spread: share of groups whose rewards are all equal, which train nothing"
)


class _ProgressOrLines(Progress):
    """A progress bar on a terminal; elsewhere a line every 15 seconds and one at the end."""

    _printed_s = 0.0

    def start(self) -> None:
        self._printed_s = time.monotonic()
        if self.console.is_terminal:
            super().start()

    def stop(self) -> None:
        if self.console.is_terminal:
            super().stop()

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._print(task_id)

    def _print(self, task_id: TaskID) -> None:
        [task] = [task for task in self.tasks if task.id == task_id]
        now_s = time.monotonic()
        if self.console.is_terminal or not (task.finished or now_s - self._printed_s >= LINE_EVERY_S):
            return
        self._printed_s = now_s
        elapsed_s = task.finished_time if task.finished else task.elapsed
        self.console.print(
            f"{task.description}: {task.completed:.0f} of {task.total:.0f} after {elapsed_s or 0.0:.0f} s",
            highlight=False,
            soft_wrap=True,
        )


def progress_bar(console: Console) -> Progress:
    """A bar with counts and times for any long work; without a terminal, a line every 15 seconds."""
    return _ProgressOrLines(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


class UpdateProgress(TrainerCallback):  # type: ignore[misc]
    """Shows the updates of a run.

    Args:
        console: Console to print to.
        line_every: Updates between two lines of metrics.
    """

    def __init__(self, console: Console, line_every: int) -> None:
        self._console = console
        self._line_every = line_every
        self._bar = progress_bar(console)
        self._printed_s = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._console.print(_LEGEND, highlight=False, soft_wrap=True)
        if state.global_step:
            self._console.print(
                f"resumed: {state.global_step} of {state.max_steps} updates are done; the run goes on with update "
                f"{state.global_step + 1}",
                highlight=False,
                soft_wrap=True,
            )
        self._bar.start()
        self._task = self._bar.add_task("updates", total=state.max_steps, completed=state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs["logs"]
        role = next((name.split("/")[0] for name in logs if name.endswith("/loss")), None)
        waited_s = time.monotonic() - self._printed_s
        if role is None or (
            role == "solver"
            and state.global_step % self._line_every != 1 % self._line_every
            and (self._console.is_terminal or waited_s < _LINE_AT_LEAST_EVERY_S)
        ):
            return
        self._printed_s = time.monotonic()
        figures = "  ".join(
            f"{label} {logs[f'{role}/{name}']:{form}}"
            for name, label, form in _SHOWN
            if logs.get(f"{role}/{name}") is not None
        )
        if left_out := logs.get(f"{role}/groups_left_out"):
            figures = f"{figures}  left out {left_out:.0f}".strip()
        step = f"{state.global_step:{len(str(state.max_steps))}d} of {state.max_steps}"
        self._console.print(f"update {step}  {role:8s}  {figures}", highlight=False, soft_wrap=True)

    def on_train_end(self, *_: object, **__: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Removes the bar from the console; safe to call after an error, too."""
        self._bar.stop()
