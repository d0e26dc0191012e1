"""A process group that cannot outlive the process that made it."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Self

# Waits for the end of its input, which comes when its parent ends however it ends, and kills its own group.
GUARD = "read -r _; kill -KILL 0"
REAP_DEADLINE_S = 10.0


class ProcessGroup:
    """Starts processes in a group of their own, and kills the whole group on exit.

    The group's leader is a guard that reads from a pipe to us: if we are killed, even with SIGKILL, the pipe
    closes and the guard kills the group. It also pins the group's id, so that we never signal another's.
    """

    def __init__(self) -> None:
        self._guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, process_group=0)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start `command` in the group, without a standard input."""
        child = subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, process_group=self._guard.pid
        )
        self._started.append(child)
        return child

    def kill(self) -> None:
        """End every process of the group at once, and wait until those that we started are gone."""
        if self._guard.returncode is not None:
            return
        os.killpg(self._guard.pid, signal.SIGKILL)
        deadline = time.monotonic() + REAP_DEADLINE_S
        for process in [*self._started, self._guard]:
            process.wait(max(0.0, deadline - time.monotonic()))
        if self._guard.stdin is not None:
            self._guard.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
