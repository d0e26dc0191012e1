"""A rollout server in a process of its own, started as a user starts it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

READY_DEADLINE_S = 240.0
STOP_DEADLINE_S = 60.0
GONE_DEADLINE_S = 20.0
KV_BLOCKS = 512
"""Of 128 tokens each, so that 64 sequences of the tiny models' whole context fit; vLLM alone would fill a gigabyte."""


@dataclass
class RunningServer:
    """A launcher and where its server listens."""

    url: str
    model: str
    log: Path
    process: subprocess.Popen[bytes]
    metrics_at_readiness: str = ""

    def processes(self) -> list[psutil.Process]:
        """The launcher and everything below it, as it is now."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the launcher a signal; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_DEADLINE_S)

    def wait_until_ready(self) -> None:
        """Return once `/readyz` answers 200, and keep what `/metrics` says then.

        Raises RuntimeError with the log if the launcher ends first or the deadline passes.
        """
        deadline_s = time.monotonic() + READY_DEADLINE_S
        while self.process.poll() is None and time.monotonic() < deadline_s:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == httpx.codes.OK:
                    self.metrics_at_readiness = httpx.get(f"{self.url}/metrics").text
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(f"the server did not become ready; its log:\n{self.log.read_text()}")


@contextmanager
def started_server(
    model: Path | str, log: Path, *flags: str, env: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """A launcher that was just started; what is left of it at the end is killed."""
    port = free_port()
    command = [sys.executable, "-m", "ireasoner.rollout_server", "--model", str(model), "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *flags], stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
    try:
        yield RunningServer(f"http://127.0.0.1:{port}", str(model), log, process)
    finally:
        process.kill()
        process.wait(STOP_DEADLINE_S)


@contextmanager
def running_server(
    model: Path | str, log: Path, *flags: str, env: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """A server of the real vLLM on a tiny model, with key-value blocks for what tests ask of it, that is ready."""
    blocks = ["--num-gpu-blocks-override", str(KV_BLOCKS)]
    with started_server(model, log, *blocks, *flags, env=env) as server:
        server.wait_until_ready()
        yield server


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def left_running(pids: list[int]) -> list[int]:
    """Those of `pids` that still run when the deadline has passed; returns at once when none does."""
    deadline_s = time.monotonic() + GONE_DEADLINE_S
    left = pids
    while left and time.monotonic() < deadline_s:
        left = [pid for pid in left if _runs(pid)]
        time.sleep(0.05)
    return left


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
