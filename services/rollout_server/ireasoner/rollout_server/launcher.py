"""The life of the server: start vLLM, report when it is ready, forward signals, exit with its code."""

import logging
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import FrameType

from ireasoner.rollout_server.engine import command, environment
from ireasoner.rollout_server.process_group import ProcessGroup
from ireasoner.rollout_server.settings import RolloutServerSettings

POLL_S = 0.1
SHUTDOWN_DEADLINE_S = 20.0
"""Time that vLLM gets after SIGTERM; then all of its processes are killed."""
FAILURE = 1
LONGEST_SOCKET_BYTES = 107
"""Of the path of a Unix socket, on Linux."""
SOCKET_BYTES = len("/vllm-12345678/12345678-1234-1234-1234-123456789012")
"""Of our folder's name and vLLM's name of a socket in it."""
ENDED_BY_SIGNAL = 128  # plus the signal's number, as shells report it

logger = logging.getLogger("rollout_server")


class Launcher:
    """Runs one vLLM server to its end."""

    def __init__(self, settings: RolloutServerSettings) -> None:
        self._settings = settings
        self._signals: list[int] = []  # received, not yet handled

    def run(self) -> int:
        """Returns the exit code: vLLM's own, or 128 + n if signal n ended it.

        It is 1 if vLLM ended with 0 without a signal, nothing can listen on the port, or vLLM was not ready in time. No
        process that vLLM started and no file of it in the temporary folder is left behind.
        """
        settings = self._settings
        if (reason := _why_not_listening(settings.host, settings.port)) is not None:
            logger.error(
                "cannot listen on port %d of %s: %s; choose others with --host and --port",
                settings.port,
                settings.host,
                reason,
            )
            return FAILURE
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        with (
            TemporaryDirectory(
                prefix="vllm-", dir=_folder_of_sockets(), ignore_cleanup_errors=True
            ) as sockets,
            ProcessGroup() as group,
        ):
            started_s = time.monotonic()
            child = group.start(command(settings), environment(settings, os.environ, Path(sockets)))
            logger.info("starting vLLM with %s (process %d)", settings.model, child.pid)
            ready = self._wait_until_ready(child, started_s)
            if ready:
                logger.info(
                    "ready at http://%s:%d after %.0f s",
                    settings.host,
                    settings.port,
                    time.monotonic() - started_s,
                )
                while child.poll() is None and not self._signals:
                    time.sleep(POLL_S)
            elif child.poll() is None and not self._signals:
                logger.error(
                    "vLLM was not ready within %g s. The first start with a hub id downloads the model, which takes "
                    "longer: raise --startup-deadline-s. VLLM_LOGGING_LEVEL=INFO shows what vLLM does",
                    settings.startup_deadline_s,
                )
                self._stop(child)
                return FAILURE
            if child.poll() is None:
                return self._stop(child)
            code = _exit_code(child)
            early = "" if ready else f" before it was ready{_where_from(settings.model)}"
            logger.error("vLLM ended by itself with code %d%s", code, early)
            return code or FAILURE

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _wait_until_ready(self, child: subprocess.Popen[bytes], started_s: float) -> bool:
        """Whether vLLM listens, which means that it is warm; False if it ended or was late, or on a signal."""
        deadline_s = started_s + self._settings.startup_deadline_s
        while child.poll() is None and not self._signals and time.monotonic() < deadline_s:
            if _listens(self._settings.host, self._settings.port):
                return True
            time.sleep(POLL_S)
        return False

    def _stop(self, child: subprocess.Popen[bytes]) -> int:
        """Asks vLLM to end and returns its code. The deadline or a second signal ends the wait."""
        logger.info("stopping vLLM")
        self._signals.clear()
        child.send_signal(signal.SIGTERM)
        deadline_s = time.monotonic() + SHUTDOWN_DEADLINE_S
        while child.poll() is None and not self._signals and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        if child.poll() is None:
            logger.warning("vLLM did not end in time; killing it")
            child.kill()
            child.wait(SHUTDOWN_DEADLINE_S)
        return _exit_code(child)


def _where_from(model: str) -> str:
    """Where vLLM looked for a model that is no folder; empty for a folder."""
    return (
        "" if Path(model).is_dir() else f"; {model} is no folder here, so it was looked for on the model hub"
    )


def _exit_code(child: subprocess.Popen[bytes]) -> int:
    code = child.returncode
    return ENDED_BY_SIGNAL - code if code < 0 else code


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, (host, port)


def _folder_of_sockets() -> str:
    """The temporary folder, or /tmp if paths of sockets in that one would be too long."""
    folder = gettempdir()
    return folder if len(os.fsencode(folder)) + SOCKET_BYTES <= LONGEST_SOCKET_BYTES else "/tmp"


def _why_not_listening(host: str, port: int) -> str | None:
    """Why nothing can listen there; None if it can. vLLM itself would notice only after its slow imports."""
    family, address = _address(host, port)
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            return error.strerror or str(error)
        return None


def _listens(host: str, port: int) -> bool:
    """Whether someone accepts connections there; for a wildcard address, on the loopback."""
    try:
        with socket.create_connection(
            ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port), timeout=1
        ):
            return True
    except OSError:
        return False
