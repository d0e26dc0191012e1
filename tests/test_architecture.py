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

import ireasoner.reward_server
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running

PAGE = (Path(__file__).resolve().parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")


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
    return list(dict.fromkeys(re.findall(r"`((?:\w+/)*\w+\.py)`", section)))


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
    named = files_named_in("A request")
    in_children = {name for name in named if name.endswith("worker.py")}
    assert in_children, "the processes that the server starts are named, too"
    assert [name for name in named if name not in in_children] == footprints.files
