"""The real server on a real port, in a thread of the test process."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.server import Server
from ireasoner.reward_server.settings import RewardServerSettings

START_DEADLINE_S = 120.0


@contextmanager
def running(
    settings: RewardServerSettings,
    port: int | None = None,
    limits: Limits | None = None,
    ledger_folders: Sequence[Path] = (),
) -> Iterator[str]:
    """Runs a server with these settings, by default on a free port; yields its address once it is ready."""
    server = Server(settings.model_copy(update={"port": port or 0}), limits, ledger_folders)
    thread = threading.Thread(target=server.run, name="reward-server")
    thread.start()
    try:
        yield _when_ready(server, thread)
    finally:
        server.should_exit = True
        thread.join(START_DEADLINE_S)
    if thread.is_alive():
        raise AssertionError(f"the server did not end:\n{_stacks()}")


def _stacks() -> str:
    """Where each thread and each task of an event loop is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    threads = [
        f"{names.get(ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    ]
    tasks = [f"{task!r}: {task.get_stack()}" for task in set(asyncio.tasks._all_tasks)]  # type: ignore[attr-defined]
    return "\n".join([*threads, *tasks])


def _when_ready(server: Server, thread: threading.Thread) -> str:
    end_s = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < end_s and thread.is_alive():
        if server.started:
            host, port = server.servers[0].sockets[0].getsockname()
            url = f"http://{host}:{port}"
            if httpx.get(f"{url}/readyz").status_code == 200:
                return url
        time.sleep(0.05)
    raise AssertionError(f"the server did not become ready: {server.failure}")
