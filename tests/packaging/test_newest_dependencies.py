"""The light install has no constraints, so it brings newer packages than those that the other tests run with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

TESTS = ("connections", "malformed", "logs", "estimates", "ledger_tenancy", "open_telemetry")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_reward_server_works_with_the_newest_fastapi(tmp_path: Path) -> None:
    """vLLM keeps the environment of the tests below 0.137."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    newest = tmp_path / "newest"
    subprocess.run([*pip, "--upgrade", "--target", str(newest), "fastapi"], check=True, timeout=300)
    files = [f"tests/reward_server/test_{name}.py" for name in TESTS]
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *files]
    ended = subprocess.run(
        pytest_,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(newest)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8000:]
