"""The two servers, real and started once for the whole session."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.service import Service

MODEL = Path(__file__).resolve().parents[1] / "models" / "digit-grids"


def free_port() -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def reward_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running reward server with the default embedder."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("reward-server") / "log"
    with Service(
        "reward server", "services.reward_server", ["--port", str(port)], log=log, ready_url=f"{url}/readyz"
    ) as service:
        service.wait_until_ready(120)
        yield url


@pytest.fixture(scope="session")
def rollout_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running rollout server with the tiny model: the real vLLM."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("rollout-server") / "log"
    with Service(
        "rollout server",
        "services.rollout_server",
        ["--model", str(MODEL), "--port", str(port)],
        log=log,
        ready_url=f"{url}/readyz",
    ) as service:
        service.wait_until_ready(300)
        yield url
