"""Two callers in a process of their own, which an attacker in this process cannot slow down.

Each wait is measured twice: in seconds, and in the processor time that the server spends meanwhile. The second does not
depend on what else the machine does.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx

from tests.reward_server.requests import group, rollout

SMALL = {"groups": [group([rollout("7", "east", "north")] * 4)], "config": "robust"}
PAUSE_S = 0.01


@dataclass
class Waits:
    """How long a caller waited for each of its answers.

    Attributes:
        seconds: By the clock.
        cpu_s: Processor time of all threads of the server meanwhile.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def worst_s(self) -> float:
        """The longest wait by the clock."""
        return max(self.seconds, default=0.0)

    @property
    def worst_cpu_s(self) -> float:
        """The longest wait in processor time."""
        return max(self.cpu_s, default=0.0)

    @property
    def usual_cpu_s(self) -> float:
        """The median wait in processor time."""
        return median(self.cpu_s)


def livez(http: httpx.Client) -> httpx.Response:
    """One probe."""
    return http.get("/livez")


def small_request(http: httpx.Client) -> httpx.Response:
    """One small group."""
    return http.post("/score/solver", json=SMALL)


CALLS: dict[str, Callable[[httpx.Client], httpx.Response]] = {"livez": livez, "other": small_request}


class Probes:
    """The callers of a running server; every answer must be 200."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def waits(self) -> dict[str, Waits]:
        """The waits since the last call of this, by caller; each has waited at least once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["failure"] is None, answer["failure"]
        return {name: Waits(**answer[name]) for name in CALLS}


@contextmanager
def probing(url: str, server: int) -> Iterator[Probes]:
    """Has others call the server at `url`, whose process id is `server`, until the block ends."""
    command = [sys.executable, "-m", "tests.attack.probes", url, str(server)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Probes(process)


def cpu_s(server: int) -> float:
    """Processor time of all threads of a process, in seconds, to the nanosecond."""
    total_ns = 0
    for thread in Path(f"/proc/{server}/task").iterdir():
        try:
            total_ns += int((thread / "schedstat").read_text().split()[0])
        except FileNotFoundError:  # it has ended
            continue
    return total_ns / 1e9


class _Caller:
    """One caller, which calls again and again in a thread."""

    def __init__(self, url: str, server: int, call: Callable[[httpx.Client], httpx.Response]) -> None:
        self._server = server
        self._call = call
        self._http = httpx.Client(base_url=url, timeout=60)
        self._between_calls = threading.Lock()
        self._waits = Waits()
        self.failure: str | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def taken(self) -> Waits:
        """The waits so far, the present one included; then forgets them."""
        while True:
            with self._between_calls:
                if self._waits.seconds or self.failure is not None:
                    waits, self._waits = self._waits, Waits()
                    return waits
            time.sleep(PAUSE_S)

    def _run(self) -> None:
        while self.failure is None:
            with self._between_calls:
                began_s, before_s = time.monotonic(), cpu_s(self._server)
                try:
                    response = self._call(self._http)
                    self.failure = None if response.status_code == 200 else response.text
                except httpx.HTTPError as error:
                    self.failure = repr(error)
                self._waits.seconds.append(time.monotonic() - began_s)
                self._waits.cpu_s.append(cpu_s(self._server) - before_s)
            time.sleep(PAUSE_S)


def main() -> None:
    """Answers each line of standard input with the waits since the last one."""
    url, server = sys.argv[1], int(sys.argv[2])
    callers = {name: _Caller(url, server, call) for name, call in CALLS.items()}
    for _ in sys.stdin:
        waits = {name: vars(caller.taken()) for name, caller in callers.items()}
        failures = [caller.failure for caller in callers.values() if caller.failure is not None]
        print(json.dumps({**waits, "failure": next(iter(failures), None)}), flush=True)


if __name__ == "__main__":
    main()
