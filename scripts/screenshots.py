"""Takes the README's screenshots from the report of a real run, into docs/images.

`python -m scripts.screenshots [RUN_FOLDER]` (or `make screenshots`), after `make demo`; the default is runs/demo. The
report is written anew from the run folder, so the pictures show the report as it is now.
"""

import io
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from ireasoner.trainer.report import write_report
from scripts import browser

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
WIDTH_PX = 1000
SCALE = 2
MAX_BYTES = 150_000
_COLOURS = 128
_FIRST_COMPARED = "article.sample:has(.tag.solver):has(.cosine[title])"
"""The first Solver group with compared steps; by the report's rule, an early one of median disagreement."""


def take(run_folder: Path) -> Mapping[str, bytes]:
    """The screenshots as PNG by file name.

    Args:
        run_folder: A finished run with an evaluation.

    Raises:
        RuntimeError: There is no Chromium.
        ValueError: The report has no such section, or a picture is larger than `MAX_BYTES`.
    """
    executable = browser.find()
    if executable is None:
        raise RuntimeError("no Chromium: run `make browser`")
    with tempfile.TemporaryDirectory() as folder, browser.launched(executable) as chromium:
        report = write_report(run_folder, Path(folder) / "report.html")
        page = _open(chromium, report)
        return {
            "result.png": _png(page.locator("#result .card.result").first),
            "group.png": _png(page.locator(_FIRST_COMPARED).first),
        }


def _open(chromium: Browser, report: Path) -> Page:
    page = chromium.new_page(
        viewport={"width": WIDTH_PX, "height": 1200}, device_scale_factor=SCALE, color_scheme="light"
    )
    page.set_default_timeout(1000 * browser.PAGE_DEADLINE_S)
    page.goto(report.as_uri())
    return page


def _png(element: Locator) -> bytes:
    """A picture of one element, with few enough colours to be small."""
    picture = Image.open(io.BytesIO(element.screenshot())).convert("RGB")
    buffer = io.BytesIO()
    picture.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, format="PNG", optimize=True
    )
    if buffer.tell() > MAX_BYTES:
        raise ValueError(f"a screenshot has {buffer.tell()} bytes, more than {MAX_BYTES}")
    return buffer.getvalue()


def main() -> None:
    """Writes docs/images."""
    run_folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "demo"
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, content in take(run_folder).items():
        (IMAGES / name).write_bytes(content)
        print(f"{(IMAGES / name).relative_to(ROOT)}: {len(content) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
