"""The report of a run, and of two, in a real browser."""

import pytest
from playwright.sync_api import Page

from ireasoner.trainer.report import write_comparison, write_report
from tests.browser.conftest import Scheme, Visitor
from tests.trainer.synthetic_run import SyntheticRun

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The addresses of a report and of a comparison."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [SyntheticRun(folder / name / "run", updates=24, seed=seed) for seed, name in enumerate("ab")]
    for run in runs:
        run.write_updates(24)
        run.write_evaluation(before=0.4, after=0.65)
    first, second = (run.run.path for run in runs)
    written = {"report": write_report(first), "comparison": write_comparison(first, second)}
    return {name: path.as_uri() for name, path in written.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_opens_without_a_fault_and_fetches_nothing_else(
    visit: Visitor, pages: dict[str, str], name: str, scheme: Scheme
) -> None:
    visited = visit(pages[name], scheme)
    assert visited.faults == []
    assert visited.fetched == [pages[name]]
    assert visited.page.locator("svg").first.is_visible()


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_follows_the_colour_scheme_of_the_reader(visit: Visitor, pages: dict[str, str], name: str) -> None:
    light, dark = (visit(pages[name], scheme).page for scheme in ("light", "dark"))
    assert _lightness(light, "background-color") > 0.8 > 0.4 > _lightness(light, "color")
    assert _lightness(dark, "background-color") < 0.2 < 0.6 < _lightness(dark, "color")


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize("width_px", [390, 1280])
def test_never_scrolls_sideways(visit: Visitor, pages: dict[str, str], name: str, width_px: int) -> None:
    page = visit(pages[name], width_px=width_px).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px


def test_shows_the_images_of_its_groups(visit: Visitor, pages: dict[str, str]) -> None:
    page = visit(pages["report"]).page
    widths = page.eval_on_selector_all(".picture img", "images => images.map(image => image.naturalWidth)")
    assert widths
    assert min(widths) > 0


def _lightness(page: Page, name: str) -> float:
    """The mean of the channels of a colour of the body, 0 to 1."""
    colour = page.evaluate("name => getComputedStyle(document.body).getPropertyValue(name)", name)
    channels = [float(channel) for channel in str(colour).removeprefix("rgb(").removesuffix(")").split(",")]
    return sum(channels) / 3 / 255
