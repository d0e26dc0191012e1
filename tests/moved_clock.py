"""A clock that a test moves."""

import pytest


class MovedClock:
    """Stands for the module `time` in the modules under test, and in no other.

    The event loops of running servers read `time.monotonic`, too: a timer that one sets while a test has replaced that
    fires hours late, or never.
    """

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    @classmethod
    def of(cls, monkeypatch: pytest.MonkeyPatch, module: str, now_s: float = 1000.0) -> "MovedClock":
        """The clock of `module` until the test ends."""
        clock = cls(now_s)
        monkeypatch.setattr(f"{module}.time", clock)
        return clock

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Moves the clock instead."""
        self.now_s += seconds
