"""Reports of calls that wait for the server, at most every 30 s however many calls wait."""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ireasoner.clients.errors import TimedOut
from ireasoner.clients.retry import Retry

OnWait = Callable[[Exception, float], object]
"""Takes the reason to wait, and the seconds in which another attempt may start."""

QUIET_S = 10.0
"""Seconds without an answer that are not worth a report."""
REPORT_EVERY_S = 30.0

_LAST_REPORT_S = 1.0
"""Most seconds that an ended call waits for a report that has begun: it may need a lock that the caller holds."""

log = logging.getLogger(__name__)


class Reports:
    """Calls `on_wait` at most every 30 s; clients that share one share the interval.

    What `on_wait` raises is logged, and changes nothing else: the call goes on, and so do the reports.
    """

    def __init__(self, on_wait: OnWait) -> None:
        self._on_wait = on_wait
        self._reported_s = -math.inf
        self._lock = threading.Lock()

    def __call__(self, reason: Exception, left_s: float) -> None:
        """Reports if a report is due."""
        now_s = time.monotonic()
        with self._lock:
            due = now_s - self._reported_s >= REPORT_EVERY_S
            if due:
                self._reported_s = now_s
        if due:
            try:
                self._on_wait(reason, left_s)
            except Exception:
                log.exception("on_wait failed; the call goes on")


class Waits:
    """The waiting calls of one client; threads can share it.

    Args:
        url: The server's address.
        on_wait: Called with a report; None for no reports.
    """

    def __init__(self, url: str, on_wait: OnWait | None) -> None:
        self._url = url
        self._report = on_wait if on_wait is None or isinstance(on_wait, Reports) else Reports(on_wait)

    @contextmanager
    def call(self, budget_s: float, busy_s: float = 0.0) -> Iterator[Retry]:
        """The retries of one call. A thread of its own reports an attempt that gets no answer.

        No answer is due for the first `busy_s` seconds.
        """
        if self._report is None:
            yield Retry(budget_s)
            return
        call = _Call(self._url, self._report, budget_s)
        ended = threading.Event()

        def watch() -> None:
            delay_s = busy_s + QUIET_S
            while not ended.wait(delay_s):
                call.lasts()
                delay_s = QUIET_S

        thread = threading.Thread(target=watch, name="reward-wait", daemon=True)
        thread.start()
        try:
            yield Retry(budget_s, on_wait=call.failed)
        finally:
            ended.set()
            thread.join(_LAST_REPORT_S)

    @contextmanager
    def call_async(self, budget_s: float, busy_s: float = 0.0) -> Iterator[Retry]:
        """`call` on an event loop, whose timer takes the place of the thread."""
        if self._report is None:
            yield Retry(budget_s)
            return
        call = _Call(self._url, self._report, budget_s)
        call.watch(asyncio.get_running_loop(), busy_s + QUIET_S)
        try:
            yield Retry(budget_s, on_wait=call.failed)
        finally:
            call.timer.cancel()


class _Call:
    """What one call waits for."""

    timer: asyncio.TimerHandle

    def __init__(self, url: str, report: Callable[[Exception, float], None], budget_s: float) -> None:
        self._url = url
        self._report = report
        self._start_s = time.monotonic()
        self._end_s = self._start_s + budget_s
        self._last: Exception | None = None

    def failed(self, error: Exception, left_s: float) -> None:
        """An attempt failed, and the next one is more than a moment away."""
        self._last = error
        self._report(error, left_s)

    def lasts(self) -> None:
        """The call goes on."""
        now_s = time.monotonic()
        reason = f"{self._url}: no answer for {now_s - self._start_s:.0f} s"
        if self._last is not None:
            reason += f", after {self._last}"
        self._report(TimedOut(reason), max(0.0, self._end_s - now_s))

    def watch(self, loop: asyncio.AbstractEventLoop, delay_s: float) -> None:
        """Reports after a delay, and again and again, until `timer` is cancelled."""
        self.timer = loop.call_later(delay_s, self._lasts_on, loop)

    def _lasts_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self.watch(loop, QUIET_S)
        self.lasts()
