"""Timing on a machine that others use too: the best of several tries."""

import time
from collections.abc import Callable


def best_s(action: Callable[[], object], tries: int) -> float:
    """Seconds of the fastest of `tries` runs of `action`."""
    best = float("inf")
    for _ in range(tries):
        started_s = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - started_s)
    return best
