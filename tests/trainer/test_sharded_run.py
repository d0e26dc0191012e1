"""A sharded run as a user starts it: two processes of the command, real servers, killed and resumed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL
from tests.rollout_server.running import PINNED, free_port, running_server

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

UPDATES = 4
DEADLINE_S = 300.0


def start(run: Path, servers: Sequence[str], *more: str) -> subprocess.Popen[bytes]:
    """Starts two processes of `ireasoner train` that share the backbone; their output goes into a file."""
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), "-m"]
    flags = {
        "--model": MODEL,
        "--images": run.parent / "images",
        "--run-folder": run,
        "--updates": UPDATES,
        "--proposer-every": 1,
        "--group-size": 4,
        "--groups-per-update": 2,
        "--micro-batch-size": 4,
        "--save-every": 1,
        "--cpu-threads": 1,
        "--grpo.learning-rate": 1e-3,
        "--grpo.report-to": "none",
    }
    command = [sys.executable, "-m", *launcher, "ireasoner.cli", "train"]
    with (run.parent / f"{run.name}.txt").open("ab") as output:
        return subprocess.Popen(
            [*command, *(str(word) for flag in flags.items() for word in flag), *servers, *more],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ACCELERATE_USE_FSDP": "true"},
        )


def kill_in_the_update_after(checkpoint: Path, run: subprocess.Popen[bytes]) -> None:
    """Kills both processes and their launcher, without a warning, once the checkpoint is complete."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (checkpoint / "loop.json").exists():
        assert run.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    launcher = psutil.Process(run.pid)
    processes = [launcher, *launcher.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    run.wait(DEADLINE_S)
    psutil.wait_procs(processes, timeout=DEADLINE_S)


def adapters(run: Path) -> dict[str, torch.Tensor]:
    return {
        f"{role}/{name}": value
        for role in ("solver", "proposer")
        for name, value in load_file(run / "final" / role / "adapter_model.safetensors").items()
    }


def texts(run: Path) -> list[Any]:
    return [
        [each["text"] for each in (group["rollouts"] if "rollouts" in group else group["proposals"])]
        for group in read_lines(run / "groups.jsonl")
    ]


def test_a_killed_sharded_run_ends_as_one_that_was_not_killed(reward_url: str, tmp_path: Path) -> None:
    write_unlabelled(tmp_path / "images", 8, seed=0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with running_server(MODEL, tmp_path / "server.txt", *PINNED) as server:
        servers = ["--reward.url", reward_url, "--rollout.url", server.url]
        assert start(whole, servers).wait(DEADLINE_S) == 0, (tmp_path / "whole.txt").read_text()
        first = start(killed, servers)
        kill_in_the_update_after(killed / "checkpoints" / "checkpoint-2", first)
        assert not (killed / "final").exists()
        assert start(killed, servers, "--resume").wait(DEADLINE_S) == 0, (tmp_path / "killed.txt").read_text()
    shown = (tmp_path / "killed.txt").read_text()
    assert shown.count("sharded over 2 processes, which hold ") == 2
    assert texts(killed) == texts(whole)
    expected, resumed = adapters(whole), adapters(killed)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
    updates = [line["update"] for line in read_lines(killed / "metrics.jsonl")]
    assert updates == list(range(1, UPDATES + 1))
