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
from ireasoner.trainer.worlds.digit_grids.folders import write_held_out

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
    source, _ = blocks("python")
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


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_the_gate_is_measured(
    rollout_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_held_out(tmp_path, 6, seed=0)
    _, source = blocks("python")
    exec(source.replace("http://127.0.0.1:8020", rollout_url).replace("max_tokens=256", "max_tokens=64"), {})
    shown = capsys.readouterr().out
    plainly, in_views = map(float, re.findall(r"\d\.\d{3}", shown))
    assert 0 <= plainly <= 1
    assert 0 <= in_views <= 1
