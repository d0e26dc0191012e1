"""The time in which a server had work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class BusyClock:
    """Adds up the time in which at least one task was running; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running = 0
        self._since_s = 0.0
        self._total_s = 0.0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Counts the block as one task."""
        with self._lock:
            self._count_up_to_now()
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._count_up_to_now()
                self._running -= 1

    def read_s(self) -> float:
        """Seconds until now in which a task was running."""
        with self._lock:
            self._count_up_to_now()
            return self._total_s

    def _count_up_to_now(self) -> None:
        now_s = time.monotonic()
        if self._running:
            self._total_s += now_s - self._since_s
        self._since_s = now_s


class IdleShare:
    """The share of the time between two readings in which a server had no work."""

    def __init__(self, clock: BusyClock) -> None:
        self._clock = clock
        self._busy_s, self._at_s = clock.read_s(), time.monotonic()

    def read(self) -> float:
        """The share since the previous reading, in [0, 1]."""
        busy_s, now_s = self._clock.read_s(), time.monotonic()
        share = 1 - (busy_s - self._busy_s) / max(now_s - self._at_s, 1e-9)
        self._busy_s, self._at_s = busy_s, now_s
        return min(max(share, 0.0), 1.0)
