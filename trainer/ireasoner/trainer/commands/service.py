"""A service that a command starts for itself and that never outlives it."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx

from ireasoner.trainer.errors import ServiceError

_PR_SET_PDEATHSIG = 1


class Service:
    """A child process in a process group of its own, with its output in a log file.

    It has stopped when the `with` block ends, and it is sent SIGTERM when this process dies, however that happens.
    Neither it nor its children import from the current folder, which may hold a `json.py`; PYTHONPATH stays in effect.

    Args:
        name: What messages call it.
        module: The module to run, as `python -m module`.
        arguments: The module's arguments.
        log: File that its output is appended to.
        ready_url: URL that answers 200 once the service is ready.
        environment: Variables added to this process's environment.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        log: Path,
        ready_url: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._ready_url = ready_url
        # The variable does for the child's own children what -P does for the child.
        self._environment = {**os.environ, "PYTHONSAFEPATH": "1", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=lambda: die_with(parent),
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_until_ready(self, deadline_s: float, on_wait: Callable[[float], None] | None = None) -> None:
        """Waits until the service is ready.

        Args:
            deadline_s: Maximum wait.
            on_wait: Called about twice per second with the seconds waited so far.

        Raises:
            ServiceError: It died, or was not ready in time; the message includes the last lines of its log.
        """
        assert self._process is not None
        start_s = time.monotonic()
        while True:
            code = self._process.poll()
            if code is not None:
                raise ServiceError(
                    f"the {self.name} ended with code {code} before it was ready\n{self._log_end()}"
                )
            try:
                if self._answers_ok():
                    return
            except httpx.TransportError:
                pass  # not listening yet
            waited_s = time.monotonic() - start_s
            if waited_s > deadline_s:
                raise ServiceError(
                    f"the {self.name} was not ready after {deadline_s:.0f} s\n{self._log_end()}"
                )
            if on_wait is not None:
                on_wait(waited_s)
            time.sleep(0.5)

    def _answers_ok(self) -> bool:
        """Without TLS: to read certificates for each try would keep a core busy for a tenth of the time."""
        answered = httpx.get(self._ready_url, timeout=2.0, trust_env=False, verify=False)
        return answered.status_code == httpx.codes.OK

    @property
    def pid(self) -> int | None:
        """The id of the process; None if it was not started, or was stopped."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def stop(self, grace_s: float = 20.0) -> None:
        """Stops the service: SIGTERM, then, after `grace_s`, SIGKILL; then SIGKILL to the rest of its process group."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
        with contextlib.suppress(ProcessLookupError):  # nothing is left of the group
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5.0)

    def _log_end(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return "\n".join([f"last lines of {self.log}:", *lines])


class LocalServer(Service):
    """The reward server or the rollout server on the loopback interface.

    Args:
        kind: Which one.
        port: A free port; see `free_ports`.
        flags: Its other flags.
        log: File that its output is appended to.
        environment: Variables added to this process's environment.

    Attributes:
        url: Its address.
    """

    def __init__(
        self,
        kind: Literal["reward_server", "rollout_server"],
        port: int,
        flags: Sequence[str] = (),
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(
            kind.replace("_", " "),
            f"ireasoner.{kind}",
            [*flags, "--port", str(port)],
            log=log,
            ready_url=f"{self.url}/readyz",
            environment=environment,
        )


def free_ports(count: int) -> list[int]:
    """`count` ports of the loopback interface that nothing listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def die_with(parent: int) -> None:
    """In a child process: receive SIGTERM when the parent dies; exit at once if it has died already.

    Args:
        parent: Its process id.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
