"""Fixtures that several packages of tests share; each is made once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.torchvision_cpu import install
from tests import random_policy
from tests.rollout_server.running import RunningServer, left_running, running_server

install()


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
