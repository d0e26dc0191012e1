"""Other embedding servers, with the weights of our default embedder: each runs on the core of the servers, and is
called over HTTP from the other one."""

import asyncio
import base64
import importlib.metadata
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain

import httpx
import numpy as np
import psutil

from benchmarks.peer import Embeddings, PeerUnavailable, reason
from benchmarks.peer_environment import WORKER, PeerEnvironment
from benchmarks.served import CALLER_CORE, SERVER_CORE, on_core
from ireasoner.compat.repairs import environment as repaired
from ireasoner.reward_server.embedding.load import packaged_minilm
from ireasoner.trainer.commands.service import free_ports

REQUESTS = 4
"""The texts of a turn are sent in so many requests at once, as our server gets its groups."""
READY_DEADLINE_S = 900.0
"""vLLM compiles its graph before it is ready, and keeps the result for its next start."""
REQUEST_DEADLINE_S = 600.0
MODEL = "minilm"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


class HttpPeer:
    """A server with OpenAI's protocol for embeddings.

    Args:
        name: Its name, version and settings.
        url: Of the endpoint.
        process: Its id, if it runs on this machine: it must stay on the core of the servers.
        note: What else there is to know.
    """

    def __init__(self, name: str, url: str, process: int | None = None, note: str = "") -> None:
        self.name = name
        self.note = note
        self._url = url
        self._process = process

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One row for each text, in order; the texts are sent in `REQUESTS` requests at once.

        Raises:
            PeerUnavailable: A request failed, or a thread of the server may run on another core.
        """
        size = -(-len(texts) // REQUESTS)
        requests = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        with on_core(CALLER_CORE):
            rows = np.concatenate(asyncio.run(self._post(requests)))
        if self._process is not None and (strays := threads_elsewhere(self._process, SERVER_CORE)):
            raise PeerUnavailable(
                f"{self.name} has {strays} threads that may run on other cores than its own"
            )
        return rows

    async def _post(self, requests: Sequence[list[str]]) -> list[Embeddings]:
        async with httpx.AsyncClient(timeout=REQUEST_DEADLINE_S, trust_env=False) as http:
            return await asyncio.gather(*(self._rows(http, each) for each in requests))

    async def _rows(self, http: httpx.AsyncClient, texts: list[str]) -> Embeddings:
        body = {"model": MODEL, "input": texts, "encoding_format": "base64"}
        try:
            answered = await http.post(self._url, json=body)
        except httpx.HTTPError as error:
            raise PeerUnavailable(f"{self.name} did not answer: {error!r}") from error
        if answered.status_code != 200:
            raise PeerUnavailable(f"{self.name} answered {answered.status_code}: {answered.text[:200]}")
        try:
            rows = sorted(answered.json()["data"], key=lambda row: int(row["index"]))
            return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), np.float32) for row in rows])
        except (ValueError, KeyError, TypeError) as error:
            raise PeerUnavailable(f"{self.name} answered without embeddings: {error!r}") from error


@contextmanager
def vllm(dtype: str) -> Iterator[HttpPeer]:
    """vLLM's pooling endpoint in one precision.

    Raises:
        PeerUnavailable: It does not start.
    """
    [port] = free_ports(1)
    command = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server", "--runner", "pooling"]
    flags = ["--model", str(packaged_minilm()), "--served-model-name", MODEL, "--dtype", dtype]
    env = repaired(
        {
            **os.environ,
            **ONE_THREAD,
            **OFFLINE,
            "PYTHONSAFEPATH": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # it has one core anyway
        }
    )
    name = f"vLLM {vllm_version()}, {dtype}"
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="vllm-") as sockets:
        env["VLLM_RPC_BASE_PATH"] = sockets
        with running(name, [*command, *flags, "--port", str(port)], env, f"{url}/health") as process:
            yield HttpPeer(name, f"{url}/v1/embeddings", process)


def vllm_version() -> str:
    """The version of vLLM, whatever its distribution is called.

    Raises:
        PeerUnavailable: It is not installed.
    """
    names = importlib.metadata.packages_distributions().get("vllm")
    if not names:
        raise PeerUnavailable("vLLM is not installed")
    return importlib.metadata.version(names[0])


@contextmanager
def infinity(environment: PeerEnvironment, engine: str, dtype: str) -> Iterator[HttpPeer]:
    """infinity with one of its engines, `torch` or `optimum`, in its own environment.

    Raises:
        PeerUnavailable: It does not start.
    """
    [port] = free_ports(1)
    command = [str(environment.python), "-P", str(WORKER), "infinity", "v2"]
    model = ["--model-id", str(environment.model), "--served-model-name", MODEL, "--pooling-method", "mean"]
    # Its cache on the disk would answer a text that it has seen; its optimisation of the ONNX graph is off by default.
    speed = ["--engine", engine, "--dtype", dtype, "--no-vector-disk-cache", "--no-onnx-disable-optimize"]
    rest = ["--device", "cpu", "--no-model-warmup", "--log-level", "error", "--host", "127.0.0.1"]
    name = f"infinity {environment.versions['infinity-emb']}, {engine}, {dtype}"
    url = f"http://127.0.0.1:{port}"
    env = {**os.environ, **ONE_THREAD, **OFFLINE, "INFINITY_ANONYMOUS_USAGE_STATS": "0"}
    with running(
        name, [*command, *model, *speed, *rest, "--port", str(port)], env, f"{url}/health"
    ) as process:
        yield HttpPeer(name, f"{url}/embeddings", process, environment.note)


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    env: Mapping[str, str],
    health: str,
    deadline_s: float = READY_DEADLINE_S,
) -> Iterator[int]:
    """Runs a server on the core of the servers within the block, which it enters once `health` answers 200.

    Yields its process id.

    Raises:
        PeerUnavailable: The server ended, or is not ready within the deadline.
    """
    with tempfile.TemporaryFile("w+") as log:
        with on_core(SERVER_CORE):
            process = subprocess.Popen(
                command, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            try:
                _wait(process, health, deadline_s)
            except PeerUnavailable as error:
                _end(process)
                log.seek(0)
                raise PeerUnavailable(f"{name} {error}: {reason(log.read())}") from None
            yield process.pid
        finally:
            _end(process)


def threads_elsewhere(process: int, core: int) -> int:
    """The number of threads of a process and its children that may run on another core.

    Raises:
        PeerUnavailable: The process has ended.
    """
    try:
        found = psutil.Process(process)
        threads = chain.from_iterable(map(_threads, [found, *found.children(recursive=True)]))
        return sum(_cores(thread) not in (None, {core}) for thread in threads)
    except psutil.NoSuchProcess as error:
        raise PeerUnavailable(f"its process has ended: {error}") from error


def _threads(process: psutil.Process) -> list[int]:
    """The ids of a process's threads; none if it has ended."""
    try:
        return [thread.id for thread in process.threads()]
    except psutil.NoSuchProcess:
        return []


def _cores(thread: int) -> set[int] | None:
    """The cores that a thread may run on; None if it has ended."""
    try:
        return os.sched_getaffinity(thread)
    except ProcessLookupError:
        return None


def _wait(process: subprocess.Popen[bytes], health: str, deadline_s: float) -> None:
    end_s = time.monotonic() + deadline_s
    with httpx.Client(timeout=10, trust_env=False) as http:
        while time.monotonic() < end_s:
            if process.poll() is not None:
                raise PeerUnavailable(f"ended with {process.returncode}")
            try:
                if http.get(health).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
    raise PeerUnavailable(f"is not ready after {deadline_s:g} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process, and its children with it."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=60)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
