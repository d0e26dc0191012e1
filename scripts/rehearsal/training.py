"""`ireasoner train` in a process of its own, which is ended in the middle of updates and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ireasoner.trainer.commands.service import die_with
from ireasoner.trainer.run_folder.checkpoint import Checkpoints, read_state
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from scripts.rehearsal.size import Size

_POLL_S = 0.5
"""Every look at the newest checkpoint reads its files."""


def run_fields(
    size: Size, model: Path, images: Path, folder: Path, reward_url: str, rollout_url: str
) -> dict[str, Any]:
    """The settings of the run, in bfloat16.

    Rewards are drawn, because a model with random weights gives no answers; the reward server is asked all the same.
    """
    return {
        "model": str(model),
        "images": str(images),
        "run_folder": str(folder),
        "updates": size.updates,
        "proposer_every": 1,
        "group_size": size.group_size,
        "groups_per_update": 1,
        "micro_batch_size": size.micro_batch_size,
        "save_every": 1,
        "cpu_threads": size.threads,
        "retry_budget_s": 600.0,
        "request_timeout_s": size.deadline_s,
        "lora": {"dropout": 0.0},
        "reward": {"url": reward_url, "control": "random"},
        "rollout": {
            "url": rollout_url,
            "solver_max_tokens": size.solver_max_tokens,
            "proposer_max_tokens": size.proposer_max_tokens,
            "max_pixels": size.max_pixels,
        },
        "grpo": {
            "bf16": True,
            "use_cpu": True,
            "gradient_checkpointing": size.gradient_checkpointing,
            "learning_rate": 1e-4,
        },
    }


class Training:
    """One run, in one folder.

    Args:
        fields: Its settings; see `run_fields`.
        log: File of its output.
        deadline_s: Longest life of a process of it.
    """

    def __init__(self, fields: dict[str, Any], log: Path, deadline_s: float) -> None:
        self.settings = RunSettings(**fields)
        self.log = log
        self._deadline_s = deadline_s
        self._config = log.with_suffix(".toml")
        self._config.write_text(_toml(fields))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of its process; None before the first start."""
        return None if self._process is None else self._process.pid

    def start(self, *flags: str) -> None:
        """Starts the run, or with `--resume` continues it."""
        parent = os.getpid()
        command = [
            sys.executable,
            "-P",
            "-m",
            "ireasoner.cli",
            "train",
            "--config",
            str(self._config),
            *flags,
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: die_with(parent),
            )

    def end_after(self, update: int, number: signal.Signals, after_s: float) -> int:
        """Sends a signal once an update is saved and some seconds have passed; returns the exit code.

        Raises:
            RuntimeError: The run ended before.
        """
        assert self._process is not None
        end_s = time.monotonic() + self._deadline_s
        while self.saved() < update and self._process.poll() is None and time.monotonic() < end_s:
            time.sleep(_POLL_S)
        time.sleep(after_s)
        if self._process.poll() is not None or self.saved() < update:
            raise RuntimeError(f"the run did not get past update {update}\n{self.log_end()}")
        self._process.send_signal(number)
        return self._process.wait(self._deadline_s)

    def finish(self) -> None:
        """Waits for the end of the run.

        Raises:
            RuntimeError: It failed.
        """
        assert self._process is not None
        code = self._process.wait(self._deadline_s)
        if code:
            raise RuntimeError(f"the run ended with code {code}\n{self.log_end()}")

    def stop(self) -> None:
        """Ends the process, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(self._deadline_s)

    def saved(self) -> int:
        """The update of the newest checkpoint; 0 if there is none."""
        newest = self.newest_checkpoint()
        return 0 if newest is None else read_state(newest).update

    def newest_checkpoint(self) -> Path | None:
        """The folder of the newest checkpoint."""
        return Checkpoints(self.settings.run_folder / "checkpoints", keep=2, every=1).newest()

    def metrics(self) -> list[dict[str, Any]]:
        """One line per update."""
        return list(read_lines(self.settings.run_folder / "metrics.jsonl"))

    def log_end(self) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


def _toml(fields: dict[str, Any]) -> str:
    """Settings in tables of one level; JSON's numbers, strings and booleans are TOML's."""
    plain = [f"{name} = {json.dumps(value)}" for name, value in fields.items() if not isinstance(value, dict)]
    tables = [
        "\n".join([f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())])
        for table, values in fields.items()
        if isinstance(values, dict)
    ]
    return "\n\n".join(["\n".join(plain), *tables]) + "\n"
