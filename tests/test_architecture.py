"""ARCHITECTURE.md names every file that a request and an update really pass through, in their order."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from rich.console import Console

import ireasoner.reward_server
import ireasoner.trainer
from ireasoner.reward_server.settings import RewardServerSettings
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running

PAGE = (Path(__file__).resolve().parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")

REMEMBERED = {"parsing/tags.py", "settings.py", "__main__.py"}
"""Files whose results are kept, so that an earlier test can take their place; and uvicorn's clock, which ticks beside
every request that takes long enough."""


class Footprints:
    """The files of one part in the order in which their functions are first called, in all threads."""

    def __init__(self, part: Any) -> None:
        self.files: list[str] = []
        self._folder = f"{Path(part.__file__).parent}/"
        self._followed = False

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Records the calls within the block."""
        self._followed = True
        try:
            yield
        finally:
            self._followed = False

    @contextmanager
    def every_thread(self) -> Iterator[None]:
        """Has the threads that start within the block, and this one, leave footprints."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if self._followed and event == "call" and file.startswith(self._folder):
            name = file.removeprefix(self._folder)
            if name not in self.files:
                self.files.append(name)


def files_named_in(heading: str) -> list[str]:
    """The files that a section names, each once, in the order of first mention."""
    section = re.split(r"^## ", PAGE.split(f"## {heading}\n")[1], flags=re.MULTILINE)[0]
    names = re.findall(r"`((?:\w+/)*\w+\.py)`", section)
    return [name for name in dict.fromkeys(names) if not name.startswith("tests/")]


def test_a_request_passes_the_files_that_the_page_names() -> None:
    texts = [
        rollout("7", "Row 2 reads 3, 1, 3.", "3 + 1 = 4.", "4 + 3 = 7."),
        rollout("7.0", "Row 2 holds 3, 1 and 3.", "3 + 3 = 6.", "6 + 1 = 7."),
        rollout(r"\frac{14}{2}", "Two rows", "Half of 14."),
        rollout("x+1", "A line."),
        rollout("1+x", "The same line."),
    ]
    footprints = Footprints(ireasoner.reward_server)
    with footprints.every_thread(), running(RewardServerSettings(threads=1)) as url, footprints.followed():
        body = {"groups": [group(texts)], "config": "robust"}
        response = httpx.post(f"{url}/score/trajectory", json=body, timeout=60)
    assert response.status_code == httpx.codes.OK, response.text
    assert in_order("A request") == [name for name in footprints.files if name not in REMEMBERED]


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_an_update_passes_the_files_that_the_page_names(
    reward_url: str, rollout_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One update of each role, with what is not the same in every run: prefetching, labels, a moving baseline."""
    write_unlabelled(tmp_path / "images", 12, seed=3)
    settings = RunSettings(
        model=str(MODEL),
        images=tmp_path / "images",
        run_folder=tmp_path / "run",
        updates=2,
        proposer_every=1,
        group_size=4,
        groups_per_update=2,
        cpu_threads=1,
        reward={"url": reward_url},
        rollout={"url": rollout_url, "solver_max_tokens": 64, "proposer_max_tokens": 24},
        labels="ireasoner.trainer.worlds.digit_grids.labels:answer",
    )
    footprints = Footprints(ireasoner.trainer)
    original = ProposerSolverTrainer.go

    def go(self: ProposerSolverTrainer) -> None:
        with footprints.followed():
            original(self)

    monkeypatch.setattr(ProposerSolverTrainer, "go", go)
    with footprints.every_thread():
        train(settings, Console(quiet=True))
    of_the_labels = [name for name in footprints.files if name.startswith("worlds/")]
    assert of_the_labels, "the function that the setting names"
    files = [name for name in footprints.files if name not in of_the_labels]
    assert ["loop/train.py", *(name for name in files if name not in REMEMBERED)] == in_order("An update")


def in_order(heading: str) -> list[str]:
    """The files that a section names, less those that run in a process of their own and those of REMEMBERED."""
    named = files_named_in(heading)
    return [name for name in named if not name.endswith("worker.py") and name not in REMEMBERED]
