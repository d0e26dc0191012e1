"""Image folders: which files are read, skipped and refused."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.images import ImageFolder, png_bytes, read_image


def write(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def test_reads_subfolders_in_the_order_of_their_paths(tmp_path: Path) -> None:
    late, early = write(tmp_path / "b.png"), write(tmp_path / "a" / "z.jpg")
    (tmp_path / "notes.txt").write_text("not an image, and not called one")

    folder = ImageFolder.scan(tmp_path)

    assert folder.paths == (early, late)
    assert folder.left_out == {}


def test_skips_corrupt_images_with_a_warning_and_counts_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = write(tmp_path / "good.png")
    whole = write(tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not an image")

    folder = ImageFolder.scan(tmp_path)
    with caplog.at_level(logging.WARNING):
        folder.warn_of_left_out()

    assert folder.paths == (good,)
    assert set(folder.left_out) == {"cut.png", "text.jpg"}
    assert "cut.png" in caplog.text
    assert "text.jpg" in caplog.text


def test_refuses_a_folder_without_a_readable_image(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image")

    with pytest.raises(ImagesError, match=r"has no readable image \(1 unreadable"):
        ImageFolder.scan(tmp_path)


def test_refuses_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match="is not a folder"):
        ImageFolder.scan(tmp_path / "missing")


def test_a_png_keeps_every_pixel(tmp_path: Path) -> None:
    image = Image.effect_noise((28, 28), 90).convert("RGB")
    path = tmp_path / "noise.png"
    path.write_bytes(png_bytes(image))

    assert read_image(path).tobytes() == image.tobytes()


def test_a_folder_with_fewer_images_than_an_update_needs_is_refused(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    images = ImageFolder.scan(tmp_path)
    images.require(2)
    with pytest.raises(
        ImagesError, match="has 2 usable images, fewer than the 3 of one update: add images, or"
    ):
        images.require(3)
