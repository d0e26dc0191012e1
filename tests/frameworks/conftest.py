"""The reward server for the frameworks, and a way to compare their rewards with those of the server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from ireasoner.compat.repairs import STARTUP
from tests.reward_server.conftest import compass, compass_http, compass_url
from tests.reward_server.requests import group

__all__ = ["compass", "compass_http", "compass_url"]

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = ROOT / "clients" / "ireasoner" / "clients"
Solver = Callable[..., list[float | None]]


@pytest.fixture(scope="session")
def solver(compass_http: httpx.Client) -> Solver:
    """The rewards of `/score/solver` for a group of texts."""

    def score(texts: Sequence[str], progress: float = 1.0, config: Any = "paper") -> list[float | None]:
        body = {"groups": [group(texts)], "progress": progress, "config": config}
        scored = compass_http.post("/score/solver", json=body).json()["groups"][0]
        return [rollout["reward"] for rollout in scored["rollouts"]]

    return score


def run_script(python: str, module: str, *arguments: str, deadline_s: float = 240, **variables: str) -> str:
    """Runs a module of this package with `python`, which must exit with 0; returns its stderr."""
    paths = [str(STARTUP), str(ROOT)] if python == sys.executable else [str(ROOT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), **variables}
    ended = subprocess.run(
        [python, "-m", f"tests.frameworks.{module}", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=deadline_s,
    )
    assert ended.returncode == 0, f"{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    return ended.stderr


def framework_python(name: str) -> str:
    """The Python of a framework's own environment, which is made if it is missing."""
    subprocess.run([str(ROOT / "scripts" / "framework-env"), name], check=True, timeout=1500)
    return str(ROOT / ".venvs" / name / "bin" / "python")


def lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    return [json.loads(line) for line in file.read_text().splitlines()]
