"""What an attack does to a server: to its memory, and to others who call it meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil

from tests.reward_server.processes import RunningServer
from tests.reward_server.requests import group, rollout

QUIET_S = 0.3
SETTLED_S = 4.0
"""Seconds after which memory must be back; the server gives it back after two."""
SMALL = {"groups": [group([rollout("7", "east", "north")] * 4)], "config": "robust"}

MIB = 2**20


@dataclass
class Waits:
    """How long a caller waited for each of its answers, in seconds."""

    seconds: list[float] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """The longest wait."""
        return max(self.seconds, default=0.0)


@dataclass(frozen=True)
class Effect:
    """Of one attack.

    Attributes:
        name: Of the attack.
        answer: The status that the attacker got.
        seconds: How long it took.
        livez_s: The longest wait for `/livez` meanwhile.
        other_s: The longest wait of another caller for a small group.
        livez_ratio: That wait in units of the longest one before the attack.
        other_ratio: The same for the other caller.
        peak_bytes: Memory above that before the attack, at most.
        left_bytes: Memory above that before the attack, some seconds later.
    """

    name: str
    answer: str
    seconds: float
    livez_s: float
    other_s: float
    livez_ratio: float
    other_ratio: float
    peak_bytes: int
    left_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.name:30} {self.answer:8} {self.seconds:6.2f} s"
            f"   livez {self.livez_s:5.2f} s x{self.livez_ratio:5.1f}"
            f"   other {self.other_s:5.2f} s x{self.other_ratio:5.1f}"
            f"   peak {self.peak_bytes / MIB:6.1f} MiB   left {self.left_bytes / MIB:6.1f} MiB"
        )


@contextmanager
def calling(url: str, call: Callable[[httpx.Client], httpx.Response]) -> Iterator[Waits]:
    """Has another caller call again and again; every answer must be 200."""
    waits, stop = Waits(), threading.Event()
    statuses: set[int] = set()

    def run() -> None:
        with httpx.Client(base_url=url, timeout=60) as http:
            while not statuses or not stop.wait(0.01):
                began_s = time.monotonic()
                statuses.add(call(http).status_code)
                waits.seconds.append(time.monotonic() - began_s)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield waits
    finally:
        stop.set()
        thread.join(60)
    assert statuses == {200}


@contextmanager
def watching_memory(process: psutil.Process) -> Iterator[Callable[[], int]]:
    """Yields a function that returns the peak memory so far, in bytes."""
    peak, stop = [process.memory_info().rss], threading.Event()

    def run() -> None:
        while not stop.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield lambda: peak[0]
    finally:
        stop.set()
        thread.join(60)


def livez(http: httpx.Client) -> httpx.Response:
    """One probe."""
    return http.get("/livez")


def small_request(http: httpx.Client) -> httpx.Response:
    """One small group."""
    return http.post("/score/solver", json=SMALL)


def effect_of(name: str, server: RunningServer, attack: Callable[[str], str]) -> Effect:
    """Attacks a server while others call it; `attack` gets its address and returns the answer that it got."""
    process = psutil.Process(server.process.pid)
    with calling(server.url, livez) as quiet_livez, calling(server.url, small_request) as quiet_other:
        time.sleep(QUIET_S)
    before = process.memory_info().rss
    with (
        watching_memory(process) as peak,
        calling(server.url, livez) as busy_livez,
        calling(server.url, small_request) as busy_other,
    ):
        began_s = time.monotonic()
        answer = attack(server.url)
        seconds = time.monotonic() - began_s
        peak_bytes = peak() - before
    time.sleep(SETTLED_S if peak_bytes > 50 * MIB else 0)
    return Effect(
        name,
        answer,
        seconds,
        busy_livez.worst,
        busy_other.worst,
        busy_livez.worst / quiet_livez.worst,
        busy_other.worst / quiet_other.worst,
        peak_bytes,
        process.memory_info().rss - before,
    )
