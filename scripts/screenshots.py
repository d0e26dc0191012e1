"""Takes the screenshots of the README and of docs/explorer.md from a real run, into docs/images.

`python -m scripts.screenshots [RUN_FOLDER]` (or `make screenshots`), after `make demo`; the default is runs/demo. The
report is written anew from the run folder, and its groups are imported into a ledger, so the pictures show the report
and the explorer as they are now.
"""

import argparse
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from ireasoner.trainer.console import errors_reported
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.report import write_report
from scripts import browser, explorer_pictures

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH_PX = 1000
SCALE = 2
MAX_BYTES = 150_000
_COLOURS = 256
_FIRST_COMPARED = "article.sample:has(.tag.solver):has(.cosine[title])"
"""The first Solver group with compared steps; by the report's rule, an early one of median disagreement."""

_PICTURES = {"result.png": "#result .card.result", "group.png": _FIRST_COMPARED}
"""The part of the report that each picture shows."""


def take(run_folder: Path) -> Mapping[str, bytes]:
    """The screenshots as PNG by file name.

    Args:
        run_folder: A finished run with an evaluation.

    Raises:
        RunFolderError: The folder's run cannot be read.
        SettingsError: There is no Chromium, or no run, or its report lacks what the pictures show.
        ValueError: A picture is larger than `MAX_BYTES`.
    """
    executable = browser.find()
    if executable is None:
        raise SettingsError("no Chromium: run `make browser`")
    with tempfile.TemporaryDirectory() as folder, browser.launched(executable) as chromium:
        report = write_report(run_folder, Path(folder) / "report.html")
        page = _open(chromium, report)
        taken = {name: _png(_part(page, part, name)) for name, part in _PICTURES.items()}
    views = explorer_pictures.take(run_folder, executable)
    return taken | {name: _png(picture) for name, picture in views.items()}


def _open(chromium: Browser, report: Path) -> Page:
    page = chromium.new_page(
        viewport={"width": WIDTH_PX, "height": 1200}, device_scale_factor=SCALE, color_scheme="light"
    )
    page.set_default_timeout(1000 * browser.PAGE_DEADLINE_S)
    page.goto(report.as_uri())
    return page


def _part(page: Page, part: str, name: str) -> bytes:
    """A picture of one element."""
    element = page.locator(part).first
    if not element.count():
        raise SettingsError(f"the report has nothing for {name}: it needs a finished run with an evaluation")
    return element.screenshot()


def _png(screenshot: bytes) -> bytes:
    """A picture with few enough colours to be small."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, format="PNG", optimize=True
    )
    if buffer.tell() > MAX_BYTES:
        raise ValueError(f"a screenshot has {buffer.tell()} bytes, more than {MAX_BYTES}")
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes docs/images; exits as `ireasoner.trainer.console` says."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots", description=__doc__.split("\n")[0])
    parser.add_argument(
        "run_folder",
        metavar="RUN_FOLDER",
        type=Path,
        nargs="?",
        default=ROOT / "runs" / "demo",
        help="[runs/demo]",
    )
    with errors_reported(parser.prog):
        pictures = take(parser.parse_args(arguments).run_folder)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (IMAGES / name).write_bytes(content)
        print(f"{(IMAGES / name).relative_to(ROOT)}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
