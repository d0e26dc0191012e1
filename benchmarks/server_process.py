"""Starts a server for a benchmark, and ends it."""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from ireasoner.reward_server.settings import PREFIX

READY_DEADLINE_S = 120.0
POLL_S = 0.005
TIMEOUT_S = 5.0
"""Of one question whether it is ready."""
END_DEADLINE_S = 60.0
_ADDRESS = re.compile(r"https?://[^/\s]+")

Process = subprocess.Popen[str]


@contextmanager
def ready_server(
    module: str, *arguments: str, deadline_s: float = READY_DEADLINE_S, **environment: str
) -> Iterator[tuple[Process, str]]:
    """Runs `python -m module` within the block; yields the process and its address once `/readyz` answers 200.

    It has default settings where the arguments and `environment` give none: `REWARD_*` variables of this process do
    not reach it.

    Args:
        module: Prints its address in its first line.
        arguments: Of the module.
        deadline_s: Seconds until it has to be ready.
        environment: Variables that it gets besides this process's own.

    Raises:
        TimeoutError: It was not ready within the deadline.
        ChildProcessError: It ended before it was ready.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, _address_once_ready(process, module, time.monotonic() + deadline_s)
    finally:
        _end(process)


def _address_once_ready(process: Process, module: str, end_s: float) -> str:
    url = _announced(process, module, end_s)
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as http:
        while not _is_ready(http, url):
            if process.poll() is not None:
                raise ChildProcessError(f"{module} ended with {process.returncode} before it was ready")
            if time.monotonic() > end_s:
                raise TimeoutError(f"{module} at {url} was not ready in time")
            time.sleep(POLL_S)
    return url


def _announced(process: Process, module: str, end_s: float) -> str:
    """The address in the first line that the server prints."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], max(0.0, end_s - time.monotonic()))
    if not readable:
        raise TimeoutError(f"{module} printed no address in time")
    line = process.stdout.readline()
    found = _ADDRESS.search(line)
    if found is None:
        raise ChildProcessError(f"{module} printed {line!r} where its address was expected")
    return found[0]


def _is_ready(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(f"{url}/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:  # it is busy, or has ended
        return False


def _end(process: Process) -> None:
    process.terminate()
    try:
        process.communicate(timeout=END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
