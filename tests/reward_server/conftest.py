"""Running reward servers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.compass import write_compass
from tests.reward_server.running import running


@pytest.fixture(scope="session")
def compass(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose tokens are the points of a compass."""
    return write_compass(tmp_path_factory.mktemp("compass"))


@pytest.fixture(scope="session")
def compass_url(compass: Path) -> Iterator[str]:
    """A running server that embeds by the token means of `compass`."""
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with running(settings) as url:
        yield url


@pytest.fixture(scope="session")
def compass_http(compass_url: str) -> Iterator[httpx.Client]:
    """Plain HTTP to `compass_url`."""
    with httpx.Client(base_url=compass_url, timeout=60) as http:
        yield http


@pytest.fixture(scope="session")
def minilm_http() -> Iterator[httpx.Client]:
    """Plain HTTP to a running server with the default embedder and no cache."""
    with (
        running(RewardServerSettings(threads=1, cache_mib=0)) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        yield http
