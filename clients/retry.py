"""When a failed call is tried again: which errors, after how long, and until when."""

import random
import time

from clients.errors import Overloaded, RewardError, ServerProblem, Unavailable, Unreachable

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0


class Retry:
    """The retries of one call: exponential delays with full jitter, within `budget_s` seconds from now.

    Only what never reached the scorer, or what the scorer asked to be sent again, is tried again: failed
    connects, 429, 502, 503 and 504. A server's `Retry-After` is the least delay.
    """

    def __init__(self, budget_s: float) -> None:
        self._deadline_s = time.monotonic() + budget_s
        self._longest_s = FIRST_DELAY_S

    def delay_s(self, error: RewardError) -> float:
        """Seconds to wait before the next try; raises `error` if there is to be none."""
        if not isinstance(error, Unreachable | Overloaded | Unavailable):
            raise error
        asked_s = error.retry_after_s if isinstance(error, ServerProblem) else None
        delay_s = (asked_s or 0.0) + random.uniform(0, self._longest_s)
        self._longest_s = min(2 * self._longest_s, LONGEST_DELAY_S)
        if time.monotonic() + delay_s > self._deadline_s:
            raise error
        return delay_s
