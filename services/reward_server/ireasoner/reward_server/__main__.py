"""The command `reward-server`."""

import asyncio
import gc
import json
import logging
import math
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ireasoner.compat.extras import needs_extra

with needs_extra("reward-server", command="reward-server"):
    import uvicorn
    from pydantic import ValidationError

    from ireasoner.reward_server.api.tokens import UnusableTokens, add_token
    from ireasoner.reward_server.app import create_app
    from ireasoner.reward_server.observability import logs
    from ireasoner.reward_server.settings import RewardServerSettings, UnknownVariable, read_settings

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that none is closed as a request is on its way."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 2048
"""Connections that may wait to be taken, as many as uvicorn lets wait."""
LAST_REQUESTS_S = 0.2
"""How long connections that are open as the port closes have for a request that is on its way."""
REQUEST_OBJECTS = 50_000
"""About as many as the largest usual request makes: the collector looks for cycles once in so many, not 700."""


class Server(uvicorn.Server):
    """uvicorn's server; prints where it listens, and ends if the embedder cannot be loaded."""

    def __init__(self, settings: RewardServerSettings) -> None:
        self.failure: Exception | None = None
        self._settings = settings
        self._app = create_app(settings, self.fail)
        self._exit_at_s = math.inf
        super().__init__(
            uvicorn.Config(
                self._app,
                host=settings.host,
                port=settings.port,
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
        """On the first signal readiness goes off, and the server ends a little later; on a second, at once."""
        if self._exit_at_s < math.inf:
            super().handle_exit(sig, frame)
            return
        self._app.state.engine.drain()
        self._exit_at_s = time.monotonic() + self._settings.drain_notice_s

    async def on_tick(self, counter: int) -> bool:
        """Tells uvicorn, which asks ten times a second, whether to stop listening and to drain."""
        return time.monotonic() >= self._exit_at_s or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the server; whoever waits for a cohort is told at once, and can come back to the next one.

        Connections that the kernel had made by then, and requests on their way, are still taken: closing the
        port would reset them.
        """
        self._app.state.cohorts.close()
        waiting = [connection for listening in sockets or () for connection in accept_all(listening)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            try:
                await loop.connect_accepted_socket(self._protocol, connection)
            except OSError as error:
                log.warning("a connection that waited to be taken was lost: %s", error)
                connection.close()
        await asyncio.sleep(LAST_REQUESTS_S)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        """What speaks HTTP on a connection."""
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ends the server in order on SIGTERM and SIGINT.

        uvicorn's own would raise the signal again afterwards, so that an orderly end looked like a crash.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.signal(number, self.handle_exit) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to take connections, and prints where."""
        await super().startup(sockets)
        if self.started:
            for listening in sockets or ():
                host, port = listening.getsockname()[:2]
                shown = f"[{host}]" if ":" in host else host
                print(f"reward-server: listening on http://{shown}:{port}", flush=True)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 is one that is free.

    Raises:
        OSError: The port is taken, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def accept_all(listening: socket.socket) -> list[socket.socket]:
    """The connections that wait at a port, as far as there are descriptors for them.

    From here on, on Linux, only one more can wait there. Others are made to try again in a second, and find the port
    closed, or the next server: so one connection at most of those that wait is reset by closing the port.
    """
    listening.listen(0)
    listening.setblocking(False)
    waiting = []
    while True:
        try:
            waiting.append(listening.accept()[0])
        except BlockingIOError:
            return waiting
        except OSError as error:
            log.warning("the connections that still waited were not taken: %s", error)
            return waiting


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until SIGTERM or SIGINT; returns 0, 1 if it failed, 2 if an option is wrong."""
    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments)
    except UnknownVariable as error:
        print(f"reward-server: {error}", file=sys.stderr)
        return 2
    except ValidationError as error:
        for fault in error.errors():
            option = "".join(f"{part}: " for part in fault["loc"])
            print(f"reward-server: {option}{fault['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        return 2
    if settings.print_openapi:
        print(json.dumps(create_app(settings).openapi(), indent=2))
        return 0
    logs.configure(settings.log_level, settings.log_format)
    try:
        if settings.new_token is not None:
            assert settings.tokens_file is not None
            print(add_token(settings.tokens_file, settings.new_token))
            return 0
        server = Server(settings)
    except UnusableTokens as error:
        print(f"reward-server: {error}", file=sys.stderr)
        return 2
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        reason = f"cannot listen on port {settings.port} of {settings.host}: {error.strerror}"
        print(f"reward-server: {reason}; --host and --port choose others", file=sys.stderr)
        return 1
    gc.freeze()  # what is loaded by now stays, and need not be looked through again
    gc.set_threshold(REQUEST_OBJECTS)
    server.run(sockets=[listening])
    if server.failure is not None:
        print(f"reward-server: {settings.embedder}: {server.failure}", file=sys.stderr)
    return 0 if server.started and server.failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
