"""A sharded run as a user starts it: two processes of the command, real servers, killed and resumed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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


@contextmanager
def started(run: Path, servers: Sequence[str], *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Two processes of `ireasoner train` that share the backbone; what is left of them ends with the block."""
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
    }
    grpo = ["--grpo", "learning_rate=1e-3", "--grpo", "report_to=none"]
    command = [sys.executable, "-m", *launcher, "ireasoner.cli", "train"]
    with (run.parent / f"{run.name}.txt").open("ab") as output:
        launched = subprocess.Popen(
            [*command, *(str(word) for flag in flags.items() for word in flag), *grpo, *servers, *more],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ACCELERATE_USE_FSDP": "true"},
        )
    try:
        yield launched
    finally:
        kill(launched)


def kill(launched: subprocess.Popen[bytes]) -> None:
    """Ends a launcher and its processes, as far as they run, without a warning."""
    with suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(launched.pid)
        for process in [*launcher.children(recursive=True), launcher]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    launched.wait(DEADLINE_S)


def wait_for(checkpoint: Path, run: subprocess.Popen[bytes]) -> None:
    """Returns once the checkpoint of a run is complete."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (checkpoint / "loop.json").exists():
        assert run.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


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
        with started(whole, servers) as run:
            assert run.wait(DEADLINE_S) == 0, (tmp_path / "whole.txt").read_text()
        with started(killed, servers) as run:
            wait_for(killed / "checkpoints" / "checkpoint-2", run)
            kill(run)
        assert not (killed / "final").exists()
        with started(killed, servers, "--resume") as run:
            assert run.wait(DEADLINE_S) == 0, (tmp_path / "killed.txt").read_text()
    shown = (tmp_path / "killed.txt").read_text()
    assert shown.count("sharded over 2 processes, which hold ") == 2
    assert texts(killed) == texts(whole)
    expected, resumed = adapters(whole), adapters(killed)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
    updates = [line["update"] for line in read_lines(killed / "metrics.jsonl")]
    assert updates == list(range(1, UPDATES + 1))
