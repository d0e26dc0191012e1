"""The reward server that the clients talk to: the one at `COMPASS_URL` if that is set, else one of this process.

With `COMPASS_URL` the tests of the client need httpx and pytest alone, so that they run on any Python:

    pytest --confcutdir tests/clients tests/clients/test_contract.py ...
"""

import os
from collections.abc import Iterator

import httpx
import pytest

from tests.clients.lying_server import CLIENTS, Call, LyingServer, lying

if "COMPASS_URL" in os.environ:

    @pytest.fixture(scope="session")
    def compass_url() -> str:
        """A server that was started as `tests.reward_server.conftest` starts it."""
        return os.environ["COMPASS_URL"]

    @pytest.fixture(scope="session")
    def compass_http(compass_url: str) -> Iterator[httpx.Client]:
        """Plain HTTP to `compass_url`."""
        with httpx.Client(base_url=compass_url, timeout=60) as http:
            yield http

else:
    from tests.reward_server.conftest import compass, compass_http, compass_url

    __all__ = ["compass", "compass_http", "compass_url"]


@pytest.fixture(scope="module")
def liar() -> Iterator[LyingServer]:
    """A server that answers what a test tells it to."""
    with lying() as started:
        yield started


@pytest.fixture(scope="module", params=CLIENTS)
def call(request: pytest.FixtureRequest, liar: LyingServer) -> Iterator[Call]:
    """Calls of each client to `liar`."""
    with CLIENTS[request.param](liar.url, timeout_s=20) as started:
        yield started
