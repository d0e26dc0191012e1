"""How long a reward server takes from its start until it is ready."""

import os
import statistics
import subprocess
import sys
import time

import httpx

COMMAND = (sys.executable, "-m", "ireasoner.reward_server", "--port", "0")
GOAL_S = 2.0
STARTS = 10
POLL_S = 0.005
DEADLINE_S = 120.0


def median_s(starts: int) -> float:
    """The median of so many starts with default settings, after one that has the files read from the disk."""
    return statistics.median([start_s() for _ in range(starts + 1)][1:])


def start_s() -> float:
    """Seconds from the start of the process until `/readyz` answers 200.

    Raises:
        TimeoutError: It was not ready within the deadline.
    """
    started_s = time.perf_counter()
    process = subprocess.Popen(
        COMMAND, env={**os.environ, "REWARD_LOG_LEVEL": "error"}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("reward-server: listening on ").strip()
        with httpx.Client() as http:
            while http.get(f"{url}/readyz").status_code != 200:
                if time.perf_counter() > started_s + DEADLINE_S:
                    raise TimeoutError(f"the server is not ready after {DEADLINE_S:g} s")
                time.sleep(POLL_S)
        return time.perf_counter() - started_s
    finally:
        process.terminate()
        process.communicate()
