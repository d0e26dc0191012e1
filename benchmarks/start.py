"""How long a reward server takes from its start until it is ready."""

import statistics
import time

from benchmarks.server_process import ready_server

GOAL_S = 2.0
STARTS = 10


def median_s(starts: int) -> float:
    """The median of so many starts with default settings, after one that has the files read from the disk."""
    return statistics.median([start_s() for _ in range(starts + 1)][1:])


def start_s() -> float:
    """Seconds from the start of the process until `/readyz` answers 200. Raises as `ready_server` does."""
    started_s = time.perf_counter()
    with ready_server("ireasoner.reward_server", "--port", "0", REWARD_LOG_LEVEL="error"):
        return time.perf_counter() - started_s
