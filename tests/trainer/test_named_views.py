"""The views that settings name: our own, and functions of the user, with what these may return."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ireasoner.trainer.errors import SettingsError, ViewError
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.views import Seen, named_contrast, named_views

PICTURE = Image.new("RGB", (40, 30))
HERE = "tests.trainer.test_named_views"


def asked_again(image: Image.Image, question: str, seed: int, index: int) -> Any:
    return image, f"{question} ({seed}, {index})", str.upper


def not_here(image: Image.Image, question: str, seed: int, index: int) -> Any:
    return None


def fails(image: Image.Image, question: str, seed: int, index: int) -> Any:
    raise ZeroDivisionError("no cells")


def two_arguments(image: Image.Image, question: str) -> Any:
    return image, question, None


RETURNED: dict[str, Any] = {
    "nothing like it": "text",
    "two parts": (PICTURE, "Why?"),
    "no image": ("picture", "Why?", None),
    "no question": (PICTURE, " ", None),
    "a question that is no text": (PICTURE, 7, None),
    "a map that is no function": (PICTURE, "Why?", {"left": "right"}),
}


def test_names_give_views_in_order_and_repeats_are_numbered() -> None:
    source = f"{HERE}:asked_again"
    views = named_views(["plain", "jpeg", source, "jpeg", source])
    assert [view.name for view in views] == ["plain", "jpeg", source, "jpeg-2", f"{source}-2"]
    seen = [view.of(PICTURE, "Why?", 5) for view in views]
    assert [each.question for each in seen if each] == ["Why?", "Why?", "Why? (5, 0)", "Why?", "Why? (5, 1)"]
    assert named_views(()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "mirorr",
            "views.names: there is no view 'mirorr'; did you mean mirror\\?; the views are plain, resize, ",
        ),
        ("", "views.names: there is no view ''"),
        ("blank", "views.names: there is no view 'blank'"),
        ("no_such_module:view", r"views.names: no_such_module:view is not module:function: .*PYTHONPATH"),
        (f"{HERE}:missing", f"views.names: {HERE}:missing is not module:function"),
        (f"{HERE}:PICTURE", "views.names: .*not callable"),
        (f"{HERE}:two_arguments", r"must take four arguments \(image, question, seed, index\)"),
    ],
)
def test_an_unknown_view_is_refused(name: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        named_views(["plain", name])


@pytest.mark.parametrize("name", ["plain", "mirror", "quarter_turn"])
def test_a_view_that_is_the_same_each_time_is_named_once(name: str) -> None:
    with pytest.raises(SettingsError, match=f"views.names: {name} is the same each time"):
        named_views([name, "jpeg", name])


def test_a_contrast_is_blank_foreign_or_a_function() -> None:
    assert named_contrast(None) is None
    for name in ("blank", "foreign", f"{HERE}:not_here"):
        view = named_contrast(name)
        assert view is not None
        assert view.name == name
    with pytest.raises(
        SettingsError, match=r"views.contrast: there is no view 'mirror'; the views are blank, fo"
    ):
        named_contrast("mirror")


def test_a_view_that_does_not_apply_is_none() -> None:
    [view] = named_views([f"{HERE}:not_here"])
    assert view.of(PICTURE, "Why?", 0) is None


def test_a_view_that_raises_is_an_error_that_names_it() -> None:
    [view] = named_views([f"{HERE}:fails"])
    with pytest.raises(
        ViewError,
        match=r"fails' of 'Why\?' failed: ZeroDivisionError: no cells \(.*test_named_views.py, line",
    ):
        view.of(PICTURE, "Why?", 0)


@pytest.mark.parametrize("returned", list(RETURNED))
def test_what_is_no_view_is_an_error(returned: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{HERE}.fails", lambda image, question, seed, index: RETURNED[returned])
    [view] = named_views([f"{HERE}:fails"])
    with pytest.raises(ViewError, match=f"the view '{HERE}:fails' returned"):
        view.of(PICTURE, "Why?", 0)


def test_an_image_in_another_mode_or_with_metadata_is_plain_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = Image.new("LA", (4, 4), (9, 128))
    grey.info["dpi"] = (72, 72)
    monkeypatch.setattr(f"{HERE}.fails", lambda image, question, seed, index: (grey, question, None))
    [view] = named_views([f"{HERE}:fails"])
    seen = view.of(PICTURE, "Why?", 0)
    assert seen is not None
    assert (seen.picture.mode, seen.picture.info) == ("RGB", {})


@pytest.mark.parametrize(
    ("returned", "mapped"), [("right", "right"), (None, None), ("", None), (" ", None)], ids=repr
)
def test_an_answer_map(returned: str | None, mapped: str | None) -> None:
    assert Seen("v", PICTURE, "?", lambda _: returned).plain_answer("left") == mapped
    assert Seen("v", PICTURE, "?").plain_answer("left") == "left"


def test_an_answer_map_that_fails_is_an_error() -> None:
    with pytest.raises(ViewError, match="view 'v' could not map the answer 'left' back: ZeroDivisionError"):
        Seen("v", PICTURE, "?", lambda _: str(1 / 0)).plain_answer("left")
    wrong: Any = lambda _: 7  # noqa: E731
    with pytest.raises(ViewError, match="view 'v' mapped the answer 'left' to 7, which is no text"):
        Seen("v", PICTURE, "?", wrong).plain_answer("left")


@pytest.mark.parametrize(
    ("group_size", "names"), [(8, 3), (5, 2), (2, 3)], ids=["8 by 3", "5 by 2", "2 by 3"]
)
def test_a_group_that_views_do_not_divide_is_refused(group_size: int, names: int, tmp_path: Path) -> None:
    views = {"names": ["jpeg"] * names}
    with pytest.raises(ValueError, match=f"group_size {group_size} is not divisible by the {names} views"):
        RunSettings(model="m", images=tmp_path, run_folder=tmp_path, group_size=group_size, views=views)


def test_settings_share_a_group_among_its_views(tmp_path: Path) -> None:
    def settings(**fields: Any) -> RunSettings:
        return RunSettings(model="m", images=tmp_path, run_folder=tmp_path, group_size=8, **fields)

    assert settings().rollouts_per_view == 8
    assert settings(views={"names": ["plain", "jpeg", "mirror", "crop"]}).rollouts_per_view == 2
    assert settings(views={"names": ["jpeg"]}).rollouts_per_view == 8
    assert settings().experiment["views"] != settings(views={"contrast": "blank"}).experiment["views"]
