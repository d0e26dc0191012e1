"""What an attack does to a server: to its memory, and to others who call it meanwhile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from tests.attack.probes import probing
from tests.reward_server.processes import RunningServer

QUIET_S = 0.5
SETTLED_S = 4.0
"""Seconds after which memory must be back; the server gives it back after two."""
MIB = 2**20

Attack = Callable[[], Callable[[str], str]]
"""Prepares an attack; what it returns runs against a server's address, and returns the answer that it got."""


@dataclass(frozen=True)
class Effect:
    """Of one attack.

    Attributes:
        name: Of the attack.
        answer: The status that the attacker got.
        seconds: How long it took.
        livez_s: The longest wait for `/livez` meanwhile.
        other_s: The longest wait of another caller for a small group.
        livez_ratio: The processor time of the server in the longest wait for `/livez`, in units of that in a usual wait
            before the attack.
        other_ratio: The same for the other caller, in the same unit.
        unit_s: That unit.
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
    unit_s: float
    peak_bytes: int
    left_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.name:30} {self.answer:8} {self.seconds:6.2f} s"
            f"   livez {self.livez_s:5.2f} s x{self.livez_ratio:6.1f}"
            f"   other {self.other_s:5.2f} s x{self.other_ratio:6.1f}   of {1e3 * self.unit_s:4.1f} ms"
            f"   peak {self.peak_bytes / MIB:6.1f} MiB   left {self.left_bytes / MIB:6.1f} MiB"
        )


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


def effect_of(name: str, server: RunningServer, attack: Attack) -> Effect:
    """Attacks a server while others call it."""
    process = psutil.Process(server.process.pid)
    run = attack()
    with probing(server.url, process.pid) as probes:
        probes.waits()  # the first ones connect
        time.sleep(QUIET_S)
        unit_s = probes.waits()["livez"].usual_cpu_s
        before = process.memory_info().rss
        with watching_memory(process) as peak:
            began_s = time.monotonic()
            answer = run(server.url)
            seconds = time.monotonic() - began_s
            busy = probes.waits()
            peak_bytes = peak() - before
    time.sleep(SETTLED_S if peak_bytes > 50 * MIB else 0)
    return Effect(
        name,
        answer,
        seconds,
        busy["livez"].worst_s,
        busy["other"].worst_s,
        busy["livez"].worst_cpu_s / unit_s,
        busy["other"].worst_cpu_s / unit_s,
        unit_s,
        peak_bytes,
        process.memory_info().rss - before,
    )
