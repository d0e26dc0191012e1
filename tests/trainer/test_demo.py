"""The demo as a user starts it, in a folder that spoils imports: what it writes, and that it leaves no process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL
from tests.traps import write_traps

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

DEADLINE_S = 400.0
SMALL = """
updates = 2
proposer_every = 1
group_size = 3
groups_per_update = 2
cpu_threads = 1
[lora]
r = 8
dropout = 0.0
[rollout]
solver_max_tokens = 64
proposer_max_tokens = 24
"""


class Demo:
    """A running `ireasoner demo`, and every process that inherited its environment.

    Its current folder holds a `torch.py`, a `json.py` and the like, which no process may import.
    """

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.folder = folder
        self.output = folder / "console.txt"
        self.mark = uuid.uuid4().hex
        (folder / "small.toml").write_text(SMALL)
        command = [sys.executable, "-P", "-m", "ireasoner.cli", "demo", "--out", str(folder / "run")]
        command += ["--config", str(folder / "small.toml"), *arguments]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=write_traps(folder / "current"),
                env={**os.environ, "IREASONER_TEST_MARK": self.mark},
                start_new_session=True,
            )

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        """Returns when the console shows `pattern`."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.text()):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline_s, self.text()
            time.sleep(0.2)

    def alive(self) -> list[str]:
        """The command lines of its running processes."""
        left = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get("IREASONER_TEST_MARK") == self.mark:
                    left.append(" ".join(process.cmdline())[:200])
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return left

    def left_after(self, seconds: float) -> list[str]:
        """The command lines of processes that still run after up to `seconds`."""
        deadline_s = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < deadline_s:
            time.sleep(0.2)
        return left


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Demo]:
    demo = Demo(folder, arguments)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.process.wait(10)


def test_a_demo_writes_its_report_and_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, "--evaluation-questions", "6", "--samples", "2") as demo:
        assert demo.process.wait(DEADLINE_S) == 0, demo.text()
        assert demo.alive() == []
    shown = demo.text()
    assert shown.count("run folder:") == 1
    assert "waiting for" not in shown, "both servers are ready when training starts"
    assert re.search(
        r"^before: greedy .* maj@2 .*\n(.*\n)*images: (.*\n)*update 1 of 2 ", shown, re.MULTILINE
    ), shown
    run = tmp_path / "run"
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["before"]["questions"] == evaluation["after"]["questions"] == 6
    assert "<svg" in (run / "report.html").read_text()
    unlabelled = {path.suffix for path in (run / "inputs" / "unlabelled").iterdir()}
    assert unlabelled == {".png"}


def few_images(folder: Path) -> tuple[str, str]:
    """The flag for a few images: the demo then neither draws its own thousands nor evaluates."""
    write_unlabelled(folder / "few_images", 12, seed=3)
    return "--images", str(folder / "few_images")


def check_interrupted(demo: Demo) -> None:
    """Ctrl-C ends the demo and everything that it started."""
    assert len(demo.alive()) >= 3
    os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does
    assert demo.process.wait(120) == 130, demo.text()
    assert demo.alive() == []
    assert "interrupted" in demo.text()


@pytest.mark.slow
def test_ctrl_c_while_servers_start_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, *few_images(tmp_path)) as demo:
        demo.wait_for("the reward server is ready")
        check_interrupted(demo)


@pytest.mark.slow
def test_ctrl_c_during_training_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, "--evaluation-questions", "2", "--samples", "1", "--updates", "500") as demo:
        demo.wait_for(r"update +1 ")
        check_interrupted(demo)


@pytest.mark.slow
def test_a_failure_leaves_no_process(tmp_path: Path) -> None:
    """vLLM cannot load the weights; the reward server is already running."""
    model = Path(shutil.copytree(MODEL, tmp_path / "model"))
    (model / "model.safetensors").write_bytes(b"torn")
    with running(tmp_path, "--model", str(model)) as demo:
        assert demo.process.wait(DEADLINE_S) == 1, demo.text()
        assert demo.alive() == []
    assert "the rollout server ended with code" in demo.text()


@pytest.mark.slow
def test_a_server_that_dies_during_training_ends_the_demo_and_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, "--evaluation-questions", "2", "--samples", "1", "--updates", "500") as demo:
        demo.wait_for(r"update +1 ")
        [server] = [
            p for p in psutil.Process(demo.process.pid).children() if "reward_server" in " ".join(p.cmdline())
        ]
        server.kill()
        assert demo.process.wait(90) == 1, demo.text()
        assert demo.alive() == []


@pytest.mark.slow
def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path, *few_images(tmp_path)) as demo:
        demo.wait_for("the reward server is ready")
        assert len(demo.alive()) >= 3
        demo.process.kill()
        demo.process.wait(10)
        assert demo.left_after(40) == []
