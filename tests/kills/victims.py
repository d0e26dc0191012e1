"""What is killed: each can be started, has worked or not since then, and is started again when it was killed."""

import itertools
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import httpx
import psutil

from ireasoner.trainer.commands.service import die_with
from tests.conftest import MODEL
from tests.reward_server.processes import RunningServer
from tests.rollout_server.running import KV_BLOCKS, PINNED, free_port, left_running
from tests.trainer.training import Training

READY_S = 1_200.0


class Victim(Protocol):
    """A process of a run."""

    name: str

    def has_worked(self) -> bool:
        """Whether it has done a part of the run since it was started; what is not up has not."""

    def kill(self) -> None:
        """Kills it with SIGKILL and starts it again; does not wait until it is ready."""


class Server:
    """A server that always listens on one port."""

    name: str
    module: str

    def __init__(self, log: Path, *flags: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._flags = flags
        self._http = httpx.Client(base_url=self.url, timeout=5.0, trust_env=False)
        self.start()

    def start(self) -> None:
        """Starts it; does not wait until it is ready."""
        command = [sys.executable, "-P", "-m", self.module, "--port", str(self.port), *self._flags]
        parent = os.getpid()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
                preexec_fn=lambda: die_with(parent),
            )

    def readiness(self) -> dict[str, Any]:
        """What `/readyz` answers; raises httpx.TransportError if it is not up."""
        answer: dict[str, Any] = self._http.get("/readyz").json()
        return answer

    def metrics(self) -> str:
        """What `/metrics` shows; nothing if it is not up."""
        try:
            return self._http.get("/metrics").text
        except httpx.TransportError:
            return ""

    def wait_until_ready(self) -> None:
        """Returns once `/readyz` answers 200."""
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s and self.process.poll() is None:
            try:
                if self._http.get("/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.2)
        raise AssertionError(f"the {self.name} is not ready; its log:\n{self.log.read_text()}")

    def stop(self) -> None:
        """Ends it and its children."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class RewardServer(Server):
    """The reward server, which embeds every text anew: by its default embedder, or by one that loads faster."""

    name = "reward server"
    module = "ireasoner.reward_server"

    def __init__(self, log: Path, *, embeds_in_worker: bool) -> None:
        fast = ("--embedder", "token-mean", "--token-mean-checkpoint", str(MODEL))
        flags = ("--threads", "1", "--cache-mib", "0", "--log-level", "warning")
        super().__init__(log, *flags, *(() if embeds_in_worker else fast))

    def has_worked(self) -> bool:
        return re.search(r"^reward_groups_total\{", self.metrics(), re.MULTILINE) is not None

    def kill(self) -> None:
        children = [each.pid for each in psutil.Process(self.process.pid).children(recursive=True)]
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL
        assert left_running(children) == [], "a killed server leaves no process"
        self.start()


class EmbeddingWorker:
    """The reward server's child process that holds the model; the server starts it again."""

    name = "embedding worker"

    def __init__(self, server: RewardServer) -> None:
        self._server = server
        self._killed = 0

    def has_worked(self) -> bool:
        """Whether the worker is another one than the one that was killed, and a forward pass has succeeded since."""
        try:
            state = self._server.readiness()
            worker = self._worker().pid
        except (httpx.TransportError, ValueError, psutil.NoSuchProcess):
            return False
        last = state["last_pass"]
        return bool(state["ready"] and worker != self._killed and last is not None and last["ok"])

    def kill(self) -> None:
        worker = self._worker()
        self._killed = worker.pid
        worker.kill()

    def _worker(self) -> psutil.Process:
        return RunningServer(self._server.process, self._server.url).worker


class RolloutServer(Server):
    """The real vLLM; in turns, its launcher is killed, and vLLM itself."""

    name = "rollout server"
    module = "ireasoner.rollout_server"

    def __init__(self, log: Path) -> None:
        self._turns = itertools.cycle((True, False))
        blocks = ("--num-gpu-blocks-override", str(KV_BLOCKS))
        super().__init__(log, "--model", str(MODEL), *blocks, *PINNED)

    def start(self) -> None:
        super().start()
        self._warm: float | None = None

    def has_worked(self) -> bool:
        done = self._completions()
        if done is not None and self._warm is None:
            self._warm = done
        return done is not None and self._warm is not None and done > self._warm

    def kill(self) -> None:
        launcher = psutil.Process(self.process.pid)
        processes = launcher.children(recursive=True)
        if next(self._turns):
            launcher.kill()
        else:
            [vllm] = (each for each in launcher.children() if "vllm.entrypoints" in " ".join(each.cmdline()))
            vllm.kill()
        assert self.process.wait(30) != 0
        assert left_running([each.pid for each in processes]) == [], (
            "a killed rollout server leaves no process"
        )
        self.start()

    def _completions(self) -> float | None:
        """Requests that vLLM has answered; None if it is not up."""
        metrics = self.metrics()
        found = re.findall(r"^vllm:request_success_total\{.*\} (\S+)$", metrics, re.MULTILINE)
        return sum(map(float, found)) if metrics else None


class Trainer:
    """The run itself, which is resumed when it was killed; every third time, it is killed while it starts."""

    name = "trainer"

    def __init__(self, training: Training) -> None:
        self._training = training
        self._turns = itertools.cycle((False, False, True))
        self._moment = random.Random(7)
        self._start_s = 0.0
        self.start()

    def start(self) -> None:
        """Starts or resumes the run."""
        self._saved = self._training.saved()
        self._started_s = time.monotonic()
        self._early_s = self._moment.uniform(0, self._start_s) if next(self._turns) else math.inf
        self.process = self._training.start()

    def has_worked(self) -> bool:
        lived_s = time.monotonic() - self._started_s
        if self._training.saved() > self._saved:
            self._start_s = max(self._start_s, lived_s)
            return True
        return lived_s > self._early_s

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL, "it must be killed before it ends"
        self.start()
