"""What the console shows while a run waits for a server."""

import time
from threading import Lock

from rich.console import Console

LINE_EVERY_S = 30.0
"""Seconds between two lines about one server."""


class ServerWait:
    """Prints at most one line every 30 seconds, however many requests wait; the first names the server's command.

    Args:
        console: Console to print to.
        command: The command that starts the server.
    """

    def __init__(self, console: Console, command: str) -> None:
        self._console = console
        self._command = command
        self._lock = Lock()
        self._printed_s: float | None = None

    def __call__(self, message: str) -> None:
        """Prints a message about the wait, unless another was printed just before."""
        now_s = time.monotonic()
        with self._lock:
            is_first = self._printed_s is None
            if self._printed_s is not None and now_s - self._printed_s < LINE_EVERY_S:
                return
            self._printed_s = now_s
        hint = f" (start it with: {self._command})" if is_first else ""
        self._console.print(f"{message}{hint}", markup=False, highlight=False, soft_wrap=True)
