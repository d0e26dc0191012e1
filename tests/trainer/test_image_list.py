"""A resumed run has the images of its first start, or says what changed."""

import os
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from ireasoner.trainer.errors import ImagesError, RunFolderError
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.train import open_run_folder
from ireasoner.trainer.run_folder.image_list import (
    IMAGE_LIST,
    image_changes,
    read_image_list,
    write_image_list,
)
from ireasoner.trainer.settings import RunSettings


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for index, name in enumerate(("a.png", "b.png", "sub/c.png")):
        Image.new("RGB", (8 + index, 8), "red").save(folder / name)
    return folder


def record(run: Path, images: Path, *, accept_changed: bool = False) -> list[str]:
    run.mkdir(exist_ok=True)
    found = ImageFolder.scan(images)
    changes = image_changes(run, found, accept_changed=accept_changed)
    write_image_list(run, found)
    return changes


def start(run: Path, images: Path, **fields: Any) -> None:
    """Opens the run folder as a run does, and ends before the first update."""
    settings = RunSettings(model="m", images=images, run_folder=run, **{"updates": 4, **fields})
    with ExitStack() as ending:
        open_run_folder(settings, ImageFolder.scan(images), Ranks(), Console(quiet=True), ending)


def add(images: Path) -> None:
    Image.new("RGB", (9, 9)).save(images / "sub" / "new.png")


def tear(images: Path) -> None:
    path = images / "b.png"
    path.write_bytes(path.read_bytes()[:40])


def swap(images: Path) -> None:
    Image.effect_noise((60, 60), 90).save(images / "a.png")


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "added": (add, [r"1 added: sub/new\.png"]),
    "removed": (lambda images: (images / "b.png").unlink(), [r"1 removed: b\.png"]),
    "renamed": (
        lambda images: (images / "a.png").rename(images / "z.png"),
        [r"1 added: z\.png", r"1 removed: a\.png"],
    ),
    "moved": (
        lambda images: (images / "sub").rename(images / "other"),
        [r"1 added: other/c\.png", r"1 removed: sub/c\.png"],
    ),
    "replaced": (swap, [r"1 replaced: a\.png \(\d+ -> [\d,]+ bytes\)"]),
    "torn": (tear, [r"1 removed: b\.png \(.+\)$"]),
    "hidden": (
        lambda images: (images / "b.png").rename(images / ".b.png"),
        [r"1 removed: b\.png"],
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_refused_with_the_names_and_taken_with_the_flag(
    kind: str, images: Path, tmp_path: Path
) -> None:
    change, lines = CHANGES[kind]
    run = tmp_path / "run"
    assert record(run, images) == []
    change(images)

    with pytest.raises(ImagesError, match=r"^resume: .*\n(?s:.*)--accept-changed-images") as raised:
        record(run, images)
    for line in lines:
        assert re.search(f"^  {line}", str(raised.value), re.MULTILINE)
    taken = record(run, images, accept_changed=True)
    assert len(taken) == len(lines)
    assert record(run, images) == [], "from now on, these are the run's images"


@pytest.mark.parametrize(
    "change",
    [
        lambda images: os.utime(images / "a.png", (1, 1)),
        lambda images: (images / "notes.txt").write_text("no image"),
        lambda images: (images / "broken.png").write_text("no image"),
        lambda images: images.rename(images.with_name("elsewhere")).rename(images),
    ],
    ids=["touched", "text", "unreadable", "moved away and back"],
)
def test_what_changes_no_usable_image_is_no_change(
    change: Callable[[Path], object], images: Path, tmp_path: Path
) -> None:
    record(tmp_path / "run", images)
    change(images)
    assert record(tmp_path / "run", images) == []


def test_a_refusal_leaves_the_list_as_it_was(images: Path, tmp_path: Path) -> None:
    record(tmp_path / "run", images)
    written = (tmp_path / "run" / IMAGE_LIST).read_text()
    add(images)
    with pytest.raises(ImagesError):
        record(tmp_path / "run", images)
    assert (tmp_path / "run" / IMAGE_LIST).read_text() == written


def test_many_changes_are_counted_and_some_named(images: Path, tmp_path: Path) -> None:
    record(tmp_path / "run", images)
    for index in range(25):
        Image.new("RGB", (9, 9)).save(images / f"new{index:02}.png")
    with pytest.raises(ImagesError, match=r"25 added: new00\.png, .*new09\.png and 15 more\n"):
        record(tmp_path / "run", images)


def test_a_broken_list_is_named(images: Path, tmp_path: Path) -> None:
    record(tmp_path / "run", images)
    (tmp_path / "run" / IMAGE_LIST).write_text("{")
    with pytest.raises(RunFolderError, match=r"images\.json: not a list of images"):
        record(tmp_path / "run", images)


@pytest.fixture
def _keeps_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # `open_run_folder` sets it


@pytest.mark.usefixtures("_keeps_environment")
def test_a_refused_resume_writes_nothing(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(run, images)
    written = {name: (run / name).read_text() for name in ("settings.json", IMAGE_LIST)}
    add(images)
    with pytest.raises(ImagesError, match="1 added"):
        start(run, images, resume=True, updates=7)
    assert {name: (run / name).read_text() for name in written} == written


@pytest.mark.usefixtures("_keeps_environment")
def test_a_run_that_begins_anew_takes_the_images_as_they_are(images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    start(run, images)
    add(images)
    start(run, images)
    recorded = read_image_list(run / IMAGE_LIST)
    assert recorded is not None
    assert "sub/new.png" in recorded.images
