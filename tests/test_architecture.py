"""ARCHITECTURE.md names every file that a request and an update really pass through, in their order."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def files_named_in(heading: str) -> list[str]:
    """The files that a section names, less those that run in a process of their own, in the order of first mention."""
    section = re.split(r"^## ", PAGE.split(f"## {heading}\n")[1], flags=re.MULTILINE)[0]
    names = re.findall(r"`((?:\w+/)*\w+\.py)`", section)
    return [
        name
        for name in dict.fromkeys(names)
        if not name.startswith("tests/") and not name.endswith("worker.py")
    ]


def files_passed(*words: str) -> list[str]:
    """The files that `tests.footprints` finds, in a process in which no test has left anything."""
    command = [sys.executable, "-m", "tests.footprints", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    files: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return files


@pytest.mark.timeout(600)
def test_a_request_passes_the_files_that_the_page_names() -> None:
    clocks = (
        "server.py",
        "memory.py",
    )  # uvicorn's and the memory's timers run beside requests, at any time
    passed = files_passed("request")
    assert set(clocks[1:]) <= set(passed)
    assert [name for name in files_named_in("A request") if name not in clocks] == [
        name for name in passed if name not in clocks
    ]


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_an_update_passes_the_files_that_the_page_names(
    reward_url: str, rollout_url: str, tmp_path: Path
) -> None:
    files = files_passed("update", reward_url, rollout_url, str(tmp_path))
    of_the_labels = [name for name in files if name.startswith("worlds/")]
    assert of_the_labels, "the function that the setting names"
    passed = [name for name in files if name not in of_the_labels]
    assert ["loop/train.py", *passed] == files_named_in("An update")
