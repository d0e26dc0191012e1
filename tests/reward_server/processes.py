"""The reward server in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from ireasoner.clients import RewardClient

READY_S = 120


@dataclass
class RunningServer:
    """A server process."""

    process: subprocess.Popen[str]
    url: str

    @property
    def worker(self) -> psutil.Process:
        """Its embedding worker."""
        (worker,) = (
            child
            for child in psutil.Process(self.process.pid).children()
            if child.status() != psutil.STATUS_ZOMBIE
            and "ireasoner.reward_server.embedding.worker" in child.cmdline()
        )
        return worker

    def readiness(self) -> dict[str, object]:
        answer: dict[str, object] = httpx.get(f"{self.url}/readyz").json()
        return answer

    def metric(self, line: str) -> float:
        """The value of a metric, named with its labels."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", httpx.get(f"{self.url}/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@contextmanager
def server(
    log: Path, *flags: str, port: int = 0, main: Sequence[str] = ("-m", "ireasoner.reward_server")
) -> Iterator[RunningServer]:
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *main, "--port", str(port), "--threads", "1", *flags],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("reward-server: listening on ").strip()
        with RewardClient(url) as client:
            client.wait_until_ready(READY_S, is_alive=lambda: process.poll() is None)
        yield RunningServer(process, url)
    finally:
        process.kill()
        process.communicate()
