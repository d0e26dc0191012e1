"""A process group that cannot outlive its creator."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Self

# Its input ends when its parent ends, for whatever reason; it then kills its own group.
GUARD = "read -r _; kill -KILL 0"
REAP_DEADLINE_S = 10.0


class ProcessGroup:
    """Starts processes in a group of their own, and kills the whole group on exit.

    The leader of the group is a guard that reads from a pipe to this process: if this process dies, even by
    SIGKILL, the pipe closes and the guard kills the group. The guard also keeps the group's id from being reused,
    so that no other group can be killed by mistake.
    """

    def __init__(self) -> None:
        self._guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, process_group=0)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts `command` in the group, without standard input."""
        child = subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, process_group=self._guard.pid
        )
        self._started.append(child)
        return child

    def kill(self) -> None:
        """Kills every process of the group, and waits until those that `start` started are gone."""
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
