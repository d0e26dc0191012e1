"""`ireasoner train` in a process of its own, and what two runs of it must have in common."""

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
from ireasoner.trainer.settings import ROLES
from tests.conftest import MODEL

DEADLINE_S = 300.0
RETRY_BUDGET_S = 600.0
"""Longer than any server takes to start again on a busy machine."""


class Training:
    """A run in one folder, which can be started, ended and resumed."""

    def __init__(self, folder: Path, images: Path, reward_url: str, rollout_url: str, updates: int) -> None:
        self.run = folder
        self.updates = updates
        self.log = folder.with_suffix(".log")
        self._config = folder.with_suffix(".toml")
        self._config.write_text(
            f"""
            model = {json.dumps(str(MODEL))}
            images = {json.dumps(str(images))}
            run_folder = {json.dumps(str(folder))}
            updates = {updates}
            proposer_every = 1
            group_size = 3
            groups_per_update = 2
            save_every = 1
            cpu_threads = 1
            retry_budget_s = {RETRY_BUDGET_S}
            lora.dropout = 0.0
            reward.url = {json.dumps(reward_url)}
            rollout = {{ url = {json.dumps(rollout_url)}, solver_max_tokens = 64, proposer_max_tokens = 24 }}
            grpo.learning_rate = 3e-3
            """
        )

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the run, or resumes it if it has begun."""
        flags = ["--resume"] if (self.run / "settings.json").exists() else []
        parent = os.getpid()
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "ireasoner.cli", "train", "--config", str(self._config), *flags],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: die_with(parent),
            )

    def finish(self, deadline_s: float = DEADLINE_S) -> None:
        """Starts or resumes the run and waits for its end."""
        code = self.start().wait(deadline_s)
        assert code == 0, self.log.read_text()

    def end(self, number: signal.Signals, at_update: int, after_s: float = 0.0) -> int:
        """Starts or resumes the run, sends it a signal in the middle of an update, and returns its exit code.

        Args:
            number: The signal.
            at_update: The update whose checkpoint is waited for.
            after_s: Seconds from there to the signal.
        """
        process = self.start()
        end_s = time.monotonic() + DEADLINE_S
        while process.poll() is None and self.saved() < at_update and time.monotonic() < end_s:
            time.sleep(0.02)
        time.sleep(after_s)
        assert process.poll() is None, f"it must be running: {self.log.read_text()}"
        process.send_signal(number)
        return process.wait(DEADLINE_S)

    def saved(self) -> int:
        """The update of the newest checkpoint; 0 if there is none."""
        newest = Checkpoints(self.run / "checkpoints", keep=2, every=1).newest()
        return 0 if newest is None else read_state(newest).update

    def groups(self) -> list[dict[str, Any]]:
        """The logged groups."""
        return list(read_lines(self.run / "groups.jsonl"))

    def result(self) -> dict[str, Any]:
        """What must be equal: the weights, bit for bit, and every group except for the served names of its policies."""
        groups = json.dumps(self.groups())
        names = {str(rollout["policy"]) for group in self.groups() for rollout in group.get("rollouts", [])}
        names |= {str(group.get("proposed_by") or group.get("policy")) for group in self.groups()}
        for name in names:
            groups = groups.replace(name, "-".join(name.split("-")[-2:]))
        weights = {
            role: (self.run / "final" / role / "adapter_model.safetensors").read_bytes() for role in ROLES
        }
        return {"groups": groups, "weights": weights}


def served_names(groups: list[dict[str, Any]]) -> set[str]:
    """The prefixes of these groups' served policy names; each start of the trainer has its own."""
    names = {group.get("proposed_by") or group.get("policy") for group in groups}
    return {str(name).rsplit("-", 2)[0] for name in names}


def compare(disturbed: Training, whole: Training) -> None:
    """Both ended with the same bits, and no update and no group was lost or repeated."""
    one, other = disturbed.result(), whole.result()
    assert one["groups"] == other["groups"]
    assert one["weights"] == other["weights"]
    updates = [line["update"] for line in read_lines(disturbed.run / "metrics.jsonl")]
    assert updates == list(range(1, whole.updates + 1))


def require_two_updates_of_each_role(run: Path) -> list[dict[str, Any]]:
    """Two updates of each role, in turn, trained on what the server sampled; returns their metrics."""
    lines = list(read_lines(run / "metrics.jsonl"))
    assert [line["role"] for line in lines] == ["solver", "proposer"] * 2
    for line in lines:
        role = line["role"]
        assert line[f"{role}/rollouts_trained"] > 0
        assert line[f"{role}/logprob_gap/max"] < 1e-2
    return lines
