"""How long a server has had something to do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class BusyClock:
    """Adds up the time in which at least one piece of work was under way; may be used by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way = 0
        self._since_s = 0.0
        self._total_s = 0.0

    @contextmanager
    def working(self) -> Iterator[None]:
        """A piece of work, from its beginning to its end."""
        with self._lock:
            self._count_up_to_now()
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._count_up_to_now()
                self._under_way -= 1

    def read_s(self) -> float:
        """Seconds until now in which something was under way."""
        with self._lock:
            self._count_up_to_now()
            return self._total_s

    def _count_up_to_now(self) -> None:
        now_s = time.monotonic()
        if self._under_way:
            self._total_s += now_s - self._since_s
        self._since_s = now_s


class IdleShare:
    """The share of the time between two readings in which a server had nothing to do."""

    def __init__(self, clock: BusyClock) -> None:
        self._clock = clock
        self._busy_s, self._at_s = clock.read_s(), time.monotonic()

    def read(self) -> float:
        """The share since the reading before, in [0, 1]."""
        busy_s, now_s = self._clock.read_s(), time.monotonic()
        share = 1 - (busy_s - self._busy_s) / max(now_s - self._at_s, 1e-9)
        self._busy_s, self._at_s = busy_s, now_s
        return min(max(share, 0.0), 1.0)
