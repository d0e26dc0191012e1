"""When a failed scoring post is tried again: after which errors, after how long, and until when."""

import random
import time

from ireasoner.clients.errors import RewardError, ServerProblem

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0


class Retry:
    """The retries of one call: exponential delays with full jitter, within `budget_s` seconds from now.

    Every error that is `retryable` is tried again, also one after which the server may have done its work:
    scoring changes nothing there, and gives the same again. A server's `Retry-After` is the least delay.
    """

    def __init__(self, budget_s: float) -> None:
        self._deadline_s = time.monotonic() + budget_s
        self._longest_s = FIRST_DELAY_S

    def delay_s(self, error: RewardError) -> float:
        """Seconds to wait before the next try; raises `error` if there is to be none."""
        if not error.retryable:
            raise error
        asked_s = error.retry_after_s if isinstance(error, ServerProblem) else None
        delay_s = (asked_s or 0.0) + random.uniform(0, self._longest_s)
        self._longest_s = min(2 * self._longest_s, LONGEST_DELAY_S)
        if time.monotonic() + delay_s > self._deadline_s:
            raise error
        return delay_s
