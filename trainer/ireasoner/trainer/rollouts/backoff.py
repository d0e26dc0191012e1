"""Trying again: pauses that double, within a budget."""

import random
import time
from collections.abc import Callable

_LONGEST_PAUSE_S = 15.0
_LOOK_S = 0.5


class Backoff:
    """The pauses between the tries of one request.

    Args:
        budget_s: How long to go on trying, from now.
        first_pause_s: The first pause; each is twice as long as the one before, up to 15 s.
        is_alive: Whether there is anything to wait for; false ends a pause within half a second.

    Attributes:
        pause_s: The next pause, before jitter.
    """

    def __init__(self, budget_s: float, first_pause_s: float, is_alive: Callable[[], bool]) -> None:
        self._deadline_s = time.monotonic() + budget_s
        self._jitter = random.Random()  # a wait leaves the run's own random state alone
        self._is_alive = is_alive
        self.pause_s = first_pause_s

    @property
    def left_s(self) -> float:
        """What is left of the budget, at least 0."""
        return max(0.0, self._deadline_s - time.monotonic())

    def wait(self) -> None:
        """Sleeps for half to one and a half times the pause, but not past the budget."""
        end_s = time.monotonic() + min(self.left_s, self.pause_s * self._jitter.uniform(0.5, 1.5))
        while (rest_s := end_s - time.monotonic()) > 0 and self._is_alive():
            time.sleep(min(rest_s, _LOOK_S))
        self.pause_s = min(self.pause_s * 2, _LONGEST_PAUSE_S)
