"""A rollout server in a separate process, started as a user starts it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

READY_DEADLINE_S = 240.0
STOP_DEADLINE_S = 60.0
GONE_DEADLINE_S = 20.0
KV_BLOCKS = 2048
"""Of 32 tokens each: room for 64 sequences of the tiny models' whole context; vLLM by itself would fill 1 GB."""
PINNED = ("--max-num-seqs", "1", "--no-enable-prefix-caching")
"""Equal seeds give equal bits with these flags: else the last bits depend on the rest of the batch and on the cache."""


@dataclass
class RunningServer:
    """A launcher and the address of its server."""

    url: str
    model: str
    log: Path
    process: subprocess.Popen[bytes]
    metrics_at_readiness: str = ""

    def processes(self) -> list[psutil.Process]:
        """The launcher and all of its descendants at this moment."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the launcher a signal; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_DEADLINE_S)

    def wait_until_ready(self) -> None:
        """Returns once `/readyz` answers 200, and keeps what `/metrics` shows then.

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
    model: Path | str,
    log: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    program: Sequence[str] = ("-m", "ireasoner.rollout_server"),
) -> Iterator[RunningServer]:
    """A launcher that was just started; it is killed at the end if it still runs."""
    port = free_port()
    command = [sys.executable, "-P", *program, "--model", str(model), "--port", str(port), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **(env or {})}, cwd=cwd
        )
    try:
        yield RunningServer(f"http://127.0.0.1:{port}", str(model), log, process)
    finally:
        process.kill()
        process.wait(STOP_DEADLINE_S)


@contextmanager
def running_server(
    model: Path | str,
    log: Path,
    *flags: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[RunningServer]:
    """A ready server of the real vLLM on a tiny model, with as many key-value blocks as the tests need."""
    blocks = ["--num-gpu-blocks-override", str(KV_BLOCKS)]
    with started_server(model, log, *blocks, *flags, env=env, cwd=cwd) as server:
        server.wait_until_ready()
        yield server


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def left_running(pids: list[int]) -> list[int]:
    """Those of `pids` that still run at the deadline; returns at once if none does."""
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
