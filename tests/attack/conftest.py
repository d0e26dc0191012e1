"""The checkpoint of the server that is attacked."""

from pathlib import Path

import pytest

from tests.reward_server.compass import write_compass


@pytest.fixture(scope="session")
def compass(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose tokens are the points of a compass."""
    return write_compass(tmp_path_factory.mktemp("compass"))
