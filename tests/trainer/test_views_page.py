"""The examples of docs/views.md do what the page says."""

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from ireasoner.trainer.settings import RunSettings, ViewSettings
from ireasoner.trainer.views import named_contrast, named_views
from ireasoner.trainer.views.known_views import VIEWS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "views.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_settings_example_is_accepted(tmp_path: Path) -> None:
    examples = [tomllib.loads(block) for block in blocks("toml")]
    assert len(examples) == 2
    for example in examples:
        run = RunSettings(model="m", images=tmp_path, run_folder=tmp_path, **{"group_size": 4, **example})
        assert len(named_views(run.views.names)) == len(run.views.names)
        named_contrast(run.views.contrast)


def test_every_view_and_setting_is_named() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert rows == list(VIEWS)
    assert all(f"`{name}`" in PAGE or f"{name} = " in PAGE for name in ViewSettings.model_fields)


def test_the_views_of_your_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    [source] = blocks("python")
    module = ModuleType("my_views")
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, "my_views", module)
    turned, negative = named_views(["my_views:upside_down", "my_views:negative"])
    image = Image.new("RGB", (2, 1), "white")
    image.putpixel((0, 0), (0, 0, 0))
    assert turned.of(image, "What is it?", 0) is None
    seen = turned.of(image, "How many are there?", 0)
    assert seen is not None
    assert seen.picture.getpixel((1, 0)) == (0, 0, 0)
    colours = negative.of(image, "What colour is it?", 0)
    assert colours is not None
    assert colours.picture.getpixel((0, 0)) == (255, 255, 255)
    assert [colours.plain_answer(answer) for answer in ("black", "red")] == ["white", None]
