"""A real Chromium, and pages that are watched while they open."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from scripts import browser

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

    def note(self, message: ConsoleMessage) -> None:
        """Keeps a message of the console if it reports a fault."""
        if message.type in ("warning", "error"):
            self.faults.append(f"{message.type}: {message.text}")


Visitor = Callable[..., Visit]
"""Opens an address with a colour scheme and a width in pixels."""


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

    def go(address: str, scheme: Scheme = "light", width_px: int = 1280) -> Visit:
        context = chromium.new_context(color_scheme=scheme, viewport={"width": width_px, "height": 900})
        context.set_default_timeout(1000 * browser.PAGE_DEADLINE_S)
        opened.append(context)
        visited = Visit(context.new_page())
        visited.page.on("console", visited.note)
        visited.page.on("pageerror", lambda error: visited.faults.append(str(error)))
        visited.page.on(
            "request",
            lambda request: None if request.url.startswith("data:") else visited.fetched.append(request.url),
        )
        visited.page.goto(address, wait_until="networkidle")
        return visited

    yield go
    for context in opened:
        context.close()
