"""Which files of a part a request or an update passes through, followed in a process in which nothing ran before.

`python -m tests.footprints request`, or `update REWARD_URL ROLLOUT_URL FOLDER`, prints the files as JSON: those whose
functions are called, in all threads, in the order of their first calls.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from rich.console import Console

import ireasoner.reward_server
import ireasoner.trainer
from ireasoner.reward_server.settings import RewardServerSettings
from ireasoner.trainer.loop.assembly import Assembly
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running


class Footprints:
    """The files of one part in the order in which their functions are first called, in all threads."""

    def __init__(self, part: Any) -> None:
        self.files: list[str] = []
        self._folder = f"{Path(part.__file__).parent}/"
        self._followed = False

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Records the calls within the block, by this thread too."""
        self._followed = True
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(None)
            self._followed = False

    @contextmanager
    def every_thread(self) -> Iterator[None]:
        """Has the threads that start within the block leave footprints."""
        threading.settrace(self._called)
        try:
            yield
        finally:
            threading.settrace(None)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> None:
        """Sees each call of a Python function and nothing within it, since it returns no tracer of lines."""
        file = frame.f_code.co_filename
        if self._followed and file.startswith(self._folder):
            name = file.removeprefix(self._folder)
            if name not in self.files:
                self.files.append(name)


def request() -> list[str]:
    """The files of the reward server that `POST /score/trajectory` passes through."""
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
        httpx.post(f"{url}/score/trajectory", json=body, timeout=60).raise_for_status()
    return footprints.files


def update(reward_url: str, rollout_url: str, folder: str) -> list[str]:
    """The files of the trainer that one update of each role passes through."""
    images = Path(folder) / "images"
    write_unlabelled(images, 12, seed=3)
    settings = RunSettings(
        model=str(MODEL),
        images=images,
        run_folder=Path(folder) / "run",
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

    class Followed(ProposerSolverTrainer):
        def go(self) -> None:
            with footprints.followed():
                super().go()

    class FollowedAssembly(Assembly):
        trainer_class = Followed

    with footprints.every_thread():
        train(settings, Console(quiet=True), assembly=FollowedAssembly)
    return footprints.files


WALKS: Mapping[str, Callable[..., list[str]]] = {"request": request, "update": update}

if __name__ == "__main__":
    print(json.dumps(WALKS[sys.argv[1]](*sys.argv[2:])))
