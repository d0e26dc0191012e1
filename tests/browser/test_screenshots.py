"""The script that takes the README's screenshots."""

import io
from pathlib import Path

import pytest
from PIL import Image

from scripts import screenshots
from tests.trainer.synthetic_run import SyntheticRun

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.mark.usefixtures("executable")
def test_takes_the_result_and_one_group_of_a_run(tmp_path: Path) -> None:
    run = SyntheticRun(tmp_path / "run", updates=24)
    run.write_updates(24)
    run.write_evaluation(before=0.4, after=0.65)
    taken = screenshots.take(run.run.path)
    assert set(taken) == {"result.png", "group.png"}
    for content in taken.values():
        picture = Image.open(io.BytesIO(content))
        assert picture.format == "PNG"
        assert screenshots.WIDTH_PX < picture.width <= screenshots.SCALE * screenshots.WIDTH_PX
        assert len(content) <= screenshots.MAX_BYTES


def test_the_committed_screenshots_are_small() -> None:
    committed = list(screenshots.IMAGES.glob("*.png"))
    assert len(committed) > 2
    for picture in committed:
        assert picture.stat().st_size <= screenshots.MAX_BYTES
