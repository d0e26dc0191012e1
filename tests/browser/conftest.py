"""A real Chromium, and pages that are watched while they open."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, expect

from scripts import browser
from tests.browser.explorer_server import ExplorerServer, explorer_server
from tests.browser.read_server import ReadServer, read_server
from tests.reward_server.compass import write_compass

Scheme = Literal["light", "dark"]


@dataclass
class Visit:
    """An open page, and what happened since.

    Attributes:
        faults: Warnings and errors of the console, and exceptions of scripts.
        fetched: Addresses that the page asked for, its own first; data URLs are left out.
    """

    page: Page
    faults: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def dismiss(self, dialog: Dialog) -> None:
        """Counts a dialog as a fault: no page opens one."""
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def note(self, message: ConsoleMessage) -> None:
        """Keeps a message of the console if it reports a fault."""
        if message.type in ("warning", "error"):
            self.faults.append(f"{message.type}: {message.text}")


Visitor = Callable[..., Visit]
"""Opens an address with a colour scheme, a width in pixels, and a bearer token that the explorer keeps."""


@pytest.fixture(scope="session")
def executable() -> Path:
    """A Chromium. If there is none the test is skipped, and on CI it fails."""
    found = browser.find()
    if found is None:
        missing = "no Chromium; run `make browser`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="module")
def chromium(executable: Path) -> Iterator[Browser]:
    """The browser; closed after each module, since no other event loop can run in this thread while it is open."""
    with browser.launched(executable) as started:
        yield started


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visitor]:
    """Opens pages; they are closed after the test."""
    opened = []

    def go(address: str, scheme: Scheme = "light", width_px: int = 1280, token: str | None = None) -> Visit:
        context = chromium.new_context(color_scheme=scheme, viewport={"width": width_px, "height": 900})
        context.set_default_timeout(1000 * browser.PAGE_DEADLINE_S)
        opened.append(context)
        if token is not None:
            context.add_init_script(f"sessionStorage.setItem('ireasoner.token', {json.dumps(token)})")
        visited = Visit(context.new_page())
        visited.page.on("console", visited.note)
        visited.page.on("pageerror", lambda error: visited.faults.append(str(error)))
        visited.page.on(
            "request",
            lambda request: None if request.url.startswith("data:") else visited.fetched.append(request.url),
        )
        visited.page.on("dialog", lambda dialog: visited.dismiss(dialog))
        visited.page.goto(address, wait_until="networkidle" if token is None else "load")
        return visited

    yield go
    for context in opened:
        context.close()


@pytest.fixture(scope="session")
def explorer(tmp_path_factory: pytest.TempPathFactory, executable: Path) -> Iterator[ExplorerServer]:
    """A reward server with tokens of two experiments and of an operator, and a ledger."""
    folder = tmp_path_factory.mktemp("explorer")
    (folder / "compass").mkdir()
    with explorer_server(folder, write_compass(folder / "compass")) as server:
        yield server


@pytest.fixture(scope="session")
def reading(tmp_path_factory: pytest.TempPathFactory, executable: Path) -> Iterator[ReadServer]:
    """A server over a ledger that is only read: it needs no token."""
    with read_server(tmp_path_factory.mktemp("reading")) as server:
        yield server


def reading_view(visit: Visitor, server: ReadServer, address: str) -> Visit:
    """A view of the explorer over the ledger that is only read, when it has been drawn."""
    visited = visit(f"{server.url}/explore{address}", token="")
    expect(visited.page.locator("main h1").first).to_be_visible()
    return visited
