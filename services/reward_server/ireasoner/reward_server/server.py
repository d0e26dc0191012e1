"""uvicorn as the reward server runs it: its address, its limits, and how it shuts down."""

import math
import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from ireasoner.reward_server.api.connection import MAX_HEAD_BYTES, Connection
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.embedding.backend import Backend
from ireasoner.reward_server.settings import RewardServerSettings

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that the client, not the server, closes them."""
BACKLOG = 2048
"""Connections that the kernel queues until the server accepts them; uvicorn's own default."""


class Server(uvicorn.Server):
    """uvicorn's server; prints its address, announces a shutdown, and ends if the embedder cannot be loaded."""

    def __init__(
        self,
        settings: RewardServerSettings,
        limits: Limits | None = None,
        ledger_folders: Sequence[Path] = (),
        backend: Backend | None = None,
    ) -> None:
        self.failure: Exception | None = None
        self._drain_notice_s = settings.drain_notice_s
        limits = limits or Limits()
        self._app = create_app(settings, self.fail, limits, ledger_folders, backend)
        self._exit_at_s = math.inf
        super().__init__(
            uvicorn.Config(
                self._app,
                host=settings.host,
                port=settings.port,
                http=Connection.within(limits.connections),
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                loop="asyncio",  # uvloop, which vLLM brings, does not let a protocol bound what it reads at once
                ws="none",
                lifespan="on",
                proxy_headers=False,
                log_config=None,
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=settings.shutdown_timeout_s,
            )
        )

    def fail(self, error: Exception) -> None:
        """Ends the server because of `error`."""
        self.failure = error
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On the first signal, reports not ready and shuts down after `drain_notice_s`; on the second, at once.

        A further SIGINT does not wait for the requests in progress. uvicorn's own handler keeps the signal and raises
        it again at the end, which looks like a crash.
        """
        if self._exit_at_s < math.inf:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            return
        self._app.state.engine.drain()
        self._exit_at_s = time.monotonic() + self._drain_notice_s

    async def on_tick(self, counter: int) -> bool:
        """Reports to uvicorn, ten times a second, whether to shut down."""
        return time.monotonic() >= self._exit_at_s or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuses callers that wait for a cohort, so that they retry elsewhere, and shuts down."""
        self._app.state.cohorts.close()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to accept connections, and announces the address."""
        await super().startup(sockets)
        if self.started:
            for listening in sockets or ():
                host, port = listening.getsockname()[:2]
                shown = f"[{host}]" if ":" in host else host
                self.announce(f"http://{shown}:{port}")

    def announce(self, url: str) -> None:
        """Prints the address."""
        print(f"reward-server: listening on {url}", flush=True)


class CannotListen(Exception):
    """The port is taken, or the host is not an address of this machine; the message says what to do."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free port. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(
            f"cannot listen on port {port} of {host}: {_reason(error)}; choose others with --host and --port"
        ) from error


def _reason(error: OSError) -> str:
    """Why it failed; `socket` adds the address, which the message has."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error.strerror)
