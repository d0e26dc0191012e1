"""Signals that end a run: they are raised where the run can stop, and wait where it cannot.

An update moves weights, optimizer and logs one after the other. A signal must not come between them, so it waits until
the update is whole. It does not wait for servers: sampling, scoring and publishing are blocks that it ends at once.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from ireasoner.trainer.errors import RunInterrupted
from ireasoner.trainer.loop.launcher import launched_processes

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_SAME_S = 0.3
"""A signal that follows the first one sooner is the same one, sent twice: to the process, and to its group."""


class StopSignals:
    """Receives the signals that end a run while the block lasts; blocks may be nested.

    The first signal raises `RunInterrupted`, at once in a block of `raised`, otherwise in the next such block or
    `check`. A second Ctrl-C ends the process at once, with 130; under a launcher, which sends its own copies, it does
    not. A signal that the process was started to ignore (`nohup`) stays ignored, and in another thread than the main
    one nothing is received.
    """

    def __init__(self, consequence: str = "the run ends as of its last whole update") -> None:
        """`consequence` is what the first signal prints."""
        self._consequence = consequence
        self._received: int | None = None
        self._received_s = 0.0
        self._raises = False
        self._depth = 0
        self._before: dict[int, Any] = {}

    @property
    def received(self) -> int | None:
        """The first signal, if one came."""
        return self._received

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before.clear()

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raises a signal that is waiting, and those that come while the block lasts.

        Raises:
            RunInterrupted: A signal came.
        """
        before, self._raises = self._raises, True
        try:
            self.check()
            yield
        finally:
            self._raises = before

    def check(self) -> None:
        """Raises a signal that is waiting.

        Raises:
            RunInterrupted: A signal came.
        """
        if self._received is not None:
            raise RunInterrupted(self._received)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self._received is None:
            self._received, self._received_s = number, time.monotonic()
            name = signal.Signals(number).name
            os.write(2, f"{name}: {self._consequence}\n".encode())
            if self._raises:
                self._raises = False
                raise RunInterrupted(number)
        elif (
            number == signal.SIGINT
            and launched_processes() == 1
            and time.monotonic() - self._received_s > _SAME_S
        ):
            os._exit(RunInterrupted(number).exit_code)
