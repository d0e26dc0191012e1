"""Takes the pictures of docs/explorer.md from the explorer over a real run's ledger."""

import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page

from ireasoner.trainer.commands.service import Service
from ireasoner.trainer.errors import SettingsError
from scripts import browser

WIDTH_PX = 1240
NARROW_PX = 390
_IMPORT_DEADLINE_S = 600
_START_DEADLINE_S = 300
_SOURCE = "demo"


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: the view's address, what must be on it before it is taken, and how much of it is shown."""

    address: str
    waits_for: str
    height_px: int
    scheme: str = "light"
    width_px: int = WIDTH_PX
    scrolls_to: str | None = None
    clicks: str | None = None


def take(run_folder: Path, executable: Path) -> Mapping[str, bytes]:
    """The pictures, as a browser takes them, by file name.

    Args:
        run_folder: A finished run, whose groups are imported into a ledger of their own.
        executable: The browser.

    Raises:
        SettingsError: The run cannot be imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger"
        _import(run_folder, ledger)
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        with (
            Service(
                "explorer",
                "ireasoner.cli",
                ["explore", str(ledger), "--port", str(port)],
                log=Path(folder) / "log.txt",
                ready_url=f"{url}/readyz",
            ) as service,
            browser.launched(executable) as chromium,
        ):
            service.wait_until_ready(_START_DEADLINE_S)
            return {name: _taken(chromium, url, picture) for name, picture in _pictures(url).items()}


def _import(run_folder: Path, ledger: Path) -> None:
    command = [sys.executable, "-P", "-m", "ireasoner.cli", "import", str(run_folder), "--ledger", str(ledger)]
    ended = subprocess.run(
        [*command, "--source", _SOURCE],
        capture_output=True,
        text=True,
        timeout=_IMPORT_DEADLINE_S,
        check=False,
    )
    if ended.returncode not in (0, 1):
        raise SettingsError(f"{run_folder} could not be imported: {ended.stderr.strip()}")


def _pictures(url: str) -> Mapping[str, Picture]:
    """The views; the group is one whose rollouts half agree, late in training, so that steps have a weight."""
    run = httpx.get(f"{url}/ledger/runs", timeout=60).json()["runs"][0]
    query = {"run": run["id"], "sort": "trajectory", "order": "asc", "min_dominant_share": 0.5, "max_dominant_share": 0.7}
    late = {"update_from": int(0.8 * run["last_update"])}
    [group, *_] = httpx.get(f"{url}/ledger/groups", params={**query, **late}, timeout=60).json()["groups"]
    of_group = f"group/{group['id']}"
    return {
        "explorer-experiments.png": Picture("runs", "a.run", 420),
        "explorer-timeline.png": Picture(
            f"run/{run['id']}?select={int(0.3 * run['last_update'])}-{int(0.5 * run['last_update'])}",
            ".chart svg",
            960,
        ),
        "explorer-groups.png": Picture(
            f"groups?run={run['id']}&sort=dominant_share&order=asc&flag=wrong", ".groups img", 760
        ),
        "explorer-group.png": Picture(of_group, ".question-card img", 1010),
        "explorer-heat-map.png": Picture(of_group, ".heat-map canvas", 700, scrolls_to=".heat-map"),
        "explorer-dark.png": Picture(of_group, ".question-card img", 900, scheme="dark"),
        "explorer-narrow.png": Picture(of_group, ".question-card img", 844, width_px=NARROW_PX),
        "explorer-compare.png": Picture(f"compare?group={group['id']}&a=paper&b=robust", ".changes", 900),
        "explorer-try.png": Picture("try", ".rollout", 1010, clicks="Load an example"),
    }


def _taken(chromium: Browser, url: str, picture: Picture) -> bytes:
    context = chromium.new_context(
        viewport={"width": picture.width_px, "height": picture.height_px},
        device_scale_factor=2 if picture.width_px == NARROW_PX else 1.25,
        color_scheme="dark" if picture.scheme == "dark" else "light",
    )
    try:
        page = context.new_page()
        page.set_default_timeout(1000 * browser.PAGE_DEADLINE_S)
        page.goto(f"{url}/explore#/{picture.address}")
        _prepare(page, picture)
        return page.screenshot()
    finally:
        context.close()


def _prepare(page: Page, picture: Picture) -> None:
    if picture.clicks is not None:
        page.get_by_role("button", name=picture.clicks).click()
    if picture.scrolls_to is not None:
        page.locator(picture.scrolls_to).scroll_into_view_if_needed()
    page.locator(picture.waits_for).first.wait_for()
    if picture.scrolls_to is not None:
        page.locator(picture.scrolls_to).evaluate("each => scrollTo(0, each.offsetTop - 110)")
    canvas = page.locator(f"{picture.waits_for} canvas, canvas").first
    if picture.scrolls_to is not None:
        canvas.hover(position={"x": 60, "y": 200})
    page.evaluate("document.fonts.ready")
    page.wait_for_load_state("networkidle" if picture.address == "try" else "load")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
