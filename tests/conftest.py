"""Fixtures that several packages of tests share; each is made once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.repairs import install
from tests import random_policy
from tests.rollout_server.running import RunningServer, free_port, left_running, running_server
from trainer.service import Service

install()

MODEL = Path(__file__).resolve().parents[1] / "models" / "digit-grids"
"""The committed tiny model."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in parallel, those with the real vLLM share one worker, and so its servers."""
    for item in items:
        if item.get_closest_marker("vllm"):
            item.add_marker(pytest.mark.xdist_group("vllm"))


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny Qwen2.5-VL with random weights."""
    return random_policy.build(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="session")
def rollout_server(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The real vLLM serving `policy`; when the session ends it must end at once, with 0 and completely."""
    with running_server(policy, tmp_path_factory.mktemp("rollout_server") / "log.txt") as server:
        yield server
        pids = [process.pid for process in server.processes()]
        assert server.stop() == 0, server.log.read_text()
        assert not left_running(pids)


@pytest.fixture(scope="session")
def rollout_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real vLLM serving the tiny model."""
    with running_server(MODEL, tmp_path_factory.mktemp("tiny_rollout_server") / "log.txt") as server:
        yield server.url


@pytest.fixture(scope="session")
def pinned_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real vLLM serving the tiny model so that equal seeds give equal bits: one sequence at a time, no cache."""
    log = tmp_path_factory.mktemp("pinned") / "log.txt"
    with running_server(MODEL, log, "--max-num-seqs", "1", "--no-enable-prefix-caching") as server:
        yield server.url


@pytest.fixture(scope="session")
def reward_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running reward server with the default embedder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("reward_server") / "log.txt"
    with Service(
        "reward server", "services.reward_server", ["--port", str(port)], log=log, ready_url=f"{url}/readyz"
    ) as service:
        service.wait_until_ready(120)
        yield url
