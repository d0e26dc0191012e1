"""Image folders: which files are read, left out and refused."""

import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from transformers import Qwen2VLImageProcessor

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.images import ImageFolder, ImageSizeCheck, image_folder, read_image


def write(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)
    return path


def names(folder: ImageFolder) -> list[str]:
    return [file.name for file in folder.files]


def test_reads_subfolders_in_the_order_of_their_paths(tmp_path: Path) -> None:
    late, early = write(tmp_path / "b.png"), write(tmp_path / "a" / "z.jpg")
    (tmp_path / "notes.txt").write_text("not an image, and not called one")

    folder = ImageFolder.scan(tmp_path)

    assert folder.paths == (early, late)
    assert folder.left_out == {}


@pytest.mark.parametrize(
    "name",
    ["A.PNG", "b.jpeg", "c.JPG", "d.webp", "e.bmp", "f.gif", "g.tif", "h.avif", "i.jp2", "j.jfif", "k.ppm"],
)
def test_an_image_is_known_by_its_suffix_whatever_its_case(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert names(ImageFolder.scan(tmp_path)) == [name]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.png", lambda whole: whole[: len(whole) // 2], "truncated"),
        ("cut.jpg", lambda whole: whole[: len(whole) // 2], "truncated"),
        ("cut.webp", lambda whole: whole[: len(whole) // 2], ""),
        ("cut.gif", lambda whole: whole[:200], ""),
        ("cut.tif", lambda whole: whole[:200], ""),
        ("cut.bmp", lambda whole: whole[:200], "truncated"),
        ("empty.png", lambda _: b"", "no image in one of the formats AVIF, BMP"),
        ("text.jpg", lambda _: b"not an image", "no image in one of the formats"),
        ("page.png", lambda _: b"<!DOCTYPE html><p>404", "no image in one of the formats"),
        (
            "heic.jpg",
            lambda _: b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(99),
            "no image in one of the formats",
        ),
        (
            "script.png",
            lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "no image in one of the",
        ),
    ],
)
def test_leaves_out_broken_images_with_a_warning(
    name: str,
    content: Callable[[bytes], bytes],
    reason: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = write(tmp_path / "good.png")
    Image.effect_noise((40, 30), 90).convert("RGB").save(tmp_path / name)
    (tmp_path / name).write_bytes(content((tmp_path / name).read_bytes()))

    folder = ImageFolder.scan(tmp_path)
    with caplog.at_level(logging.WARNING):
        folder.warn_of_left_out()

    assert folder.paths == (good,)
    assert list(folder.left_out) == [name]
    assert re.fullmatch(f"images: {name} is left out: .*{reason}.*", caplog.messages[0])


def test_names_twenty_and_counts_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "good.png")
    for index in range(30):
        (tmp_path / f"{index:02}.png").touch()
    with caplog.at_level(logging.WARNING):
        ImageFolder.scan(tmp_path).warn_of_left_out()
    assert len(caplog.messages) == 21
    assert caplog.messages[-1] == "images: 10 more are left out"


# What a folder holds besides files.


def link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_follows_links_to_folders_and_files(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "deep" / "a.png")
    write(tmp_path / "images" / "b.png")
    link(tmp_path / "images" / "linked", tmp_path / "elsewhere")
    link(tmp_path / "images" / "c.png", tmp_path / "images" / "b.png")
    folder = ImageFolder.scan(tmp_path / "images")
    assert names(folder) == ["b.png", "c.png", "linked/deep/a.png"]
    assert all(read_image(path).size == (40, 30) for path in folder.paths)


@pytest.mark.parametrize("target", [".", "sub", "../images", "sub/back"])
def test_no_link_makes_a_loop_or_lists_an_image_twice(target: str, tmp_path: Path) -> None:
    write(tmp_path / "images" / "sub" / "a.png")
    link(tmp_path / "images" / "again", target)
    link(tmp_path / "images" / "sub" / "back", "..")
    folder = ImageFolder.scan(tmp_path / "images")
    assert names(folder) == ["sub/a.png"]
    assert folder.left_out == {}


def test_a_link_out_to_a_folder_that_contains_the_images_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "private.png")
    write(tmp_path / "images" / "a.png")
    link(tmp_path / "images" / "up", "..")
    folder = ImageFolder.scan(tmp_path / "images")
    assert names(folder) == ["a.png"]
    assert folder.left_out == {"up/": "a link to a folder that contains this one"}


def test_a_folder_that_is_itself_a_link_works(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png")
    link(tmp_path / "linked", "images")
    assert ImageFolder.scan(tmp_path / "linked").paths == (tmp_path / "linked" / "a.png",)


@pytest.mark.parametrize("photo", ["a.HEIC", "sub/b.dng"])
def test_photos_in_a_format_that_is_not_read_are_named(photo: str, tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    (tmp_path / photo).parent.mkdir(exist_ok=True)
    (tmp_path / photo).write_bytes(b"raw")
    (tmp_path / "notes.txt").write_text("no image")
    assert ImageFolder.scan(tmp_path).left_out == {photo: "its format is not read: convert it to JPEG"}


@pytest.mark.parametrize("hidden", [".thumbnails/a.png", "sub/.git/a.png", ".a.png", "sub/._a.png"])
def test_hidden_files_and_folders_are_no_images(hidden: str, tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    write(tmp_path / hidden)
    folder = ImageFolder.scan(tmp_path)
    assert names(folder) == ["good.png"]
    assert folder.left_out == {}


def test_odd_entries_are_left_out_by_name(tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    link(tmp_path / "gone.png", "nowhere")
    link(tmp_path / "itself.png", "itself.png")
    os.mkfifo(tmp_path / "pipe.png")
    write(tmp_path / "folder.png" / "inside.png")
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes((tmp_path / "good.png").read_bytes())
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    write(tmp_path / os.fsdecode(b"caf\xe9") / "in.png")

    folder = ImageFolder.scan(tmp_path)

    assert names(folder) == ["folder.png/inside.png", "good.png"]
    assert folder.left_out == {
        "caf\\xe9.png": "its name is not UTF-8",
        "caf\\xe9/in.png": "its name is not UTF-8",
        "gone.png": "a link to nothing",
        "itself.png": "Too many levels of symbolic links",
        "pipe.png": "not a regular file",
    }


@pytest.mark.parametrize(
    "name", ["grüße.png", "图片.png", "a b.png", "a\nb.png", "100%.png", "[1].png", "😀.png"]
)
def test_names_in_utf_8_work(name: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    folder = ImageFolder.scan(tmp_path)
    assert names(folder) == [name]
    assert json.loads(json.dumps(names(folder))) == [name]


# Folders that cannot be used.


def test_refuses_a_folder_without_a_readable_image(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    with pytest.raises(
        ImagesError, match=r"has no readable image \(1 unreadable; looked for \.apng (?s:.*)  text\.jpg: "
    ):
        ImageFolder.scan(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file.png"])
def test_refuses_what_is_no_folder(name: str, tmp_path: Path) -> None:
    write(tmp_path / "file.png")
    with pytest.raises(ImagesError, match=f"{name} is not a folder"):
        ImageFolder.scan(tmp_path / name)


def test_refuses_a_folder_whose_own_name_is_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write(folder / "a.png")
    with pytest.raises(ImagesError, match=r"caf\\xe9 is not UTF-8: rename the folder"):
        ImageFolder.scan(folder)


def test_refuses_fewer_images_than_an_update_needs(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path / name)
    (tmp_path / "c.png").touch()
    images = ImageFolder.scan(tmp_path)
    images.require(2)
    with pytest.raises(
        ImagesError, match=r"has 2 usable images, fewer than the 3 of one update(?s:.*)c\.png: no image"
    ):
        images.require(3)


# Sizes that the policy cannot take.

PROCESSOR = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=1280 * 28 * 28)


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [(1, 1, 4), (28, 28, 4), (1, 200, 29), (2000, 10, 29), (100_000, 500, 1010), (4000, 3000, 1230)],
)
def test_the_policy_takes_images_of_any_size_and_of_sides_up_to_1_to_200(
    width: int, height: int, tokens: int
) -> None:
    check = ImageSizeCheck(PROCESSOR)
    assert check.fault(width, height) is None
    assert check.tokens(width, height) == check.tokens(height, width) == tokens


@pytest.mark.parametrize(("width", "height"), [(2010, 10), (1, 201), (50_000, 1)])
def test_the_policy_refuses_thinner_images(width: int, height: int) -> None:
    fault = ImageSizeCheck(PROCESSOR).fault(width, height)
    assert re.match(
        rf"{width} x {height} pixels: absolute aspect ratio must be smaller than 200", fault or ""
    )


def test_what_the_policy_cannot_take_is_left_out_by_name(tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    write(tmp_path / "thin.png", (2010, 10))
    write(tmp_path / "rotated.jpg", (10, 2010))
    (tmp_path / "torn.png").touch()

    folder = ImageFolder.scan(tmp_path).fitting(ImageSizeCheck(PROCESSOR, room_tokens=1000))

    assert names(folder) == ["good.png"]
    assert sorted(folder.left_out) == ["rotated.jpg", "thin.png", "torn.png"]


def test_an_image_beyond_the_model_context_is_refused_not_left_out(tmp_path: Path) -> None:
    write(tmp_path / "good.png")
    write(tmp_path / "large.png", (1400, 644))
    write(tmp_path / "larger.png", (1400, 700))
    folder = ImageFolder.scan(tmp_path)
    with pytest.raises(ImagesError, match=r"^images: larger.png and 1 more do not fit: .* 1,250 tokens"):
        folder.fitting(ImageSizeCheck(PROCESSOR, room_tokens=1000))
    assert names(folder.fitting(ImageSizeCheck(PROCESSOR, room_tokens=1250))) == [
        "good.png",
        "large.png",
        "larger.png",
    ]


def test_a_size_that_a_processor_without_patches_refuses_is_left_out_by_name(tmp_path: Path) -> None:
    def measured(width: int, height: int) -> int:
        if width == 46:
            raise ValueError("too wide")
        return 9

    write(tmp_path / "good.png")
    write(tmp_path / "wide.png", (46, 20))
    folder = ImageFolder.scan(tmp_path).fitting(ImageSizeCheck(object(), 10, measured))
    assert names(folder) == ["good.png"]
    assert folder.left_out == {"wide.png": "46 x 20 pixels: too wide"}


def test_a_folder_that_the_policy_cannot_take_at_all_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "thin.png", (2010, 10))
    with pytest.raises(ImagesError, match=r"no image that this run can use\n  thin.png: 2010 x 10 pixels"):
        ImageFolder.scan(tmp_path).fitting(ImageSizeCheck(PROCESSOR))


# The cache.


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that scans decode."""
    seen: list[str] = []

    def read(path: Path) -> Image.Image:
        seen.append(path.name)
        return read_image(path)

    monkeypatch.setattr(image_folder, "read_image", read)
    return seen


def test_a_second_scan_decodes_only_what_is_new_or_changed_or_broken(
    tmp_path: Path, decoded: list[str]
) -> None:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        write(tmp_path / name)
    (tmp_path / "broken.png").touch()
    first = ImageFolder.scan(tmp_path)
    assert sorted(decoded) == ["a.png", "b.png", "broken.png", "c.png", "d.png"]
    decoded.clear()
    assert ImageFolder.scan(tmp_path) == first
    assert decoded == ["broken.png"]
    decoded.clear()

    write(tmp_path / "b.png", (50, 50))
    os.utime(tmp_path / "c.png", (1, 1))
    (tmp_path / "d.png").rename(tmp_path / "e.png")
    (tmp_path / "a.png").unlink()
    changed = ImageFolder.scan(tmp_path)
    assert sorted(decoded) == ["b.png", "broken.png", "c.png", "e.png"]
    assert [(file.name, file.width) for file in changed.files] == [
        ("b.png", 50),
        ("c.png", 40),
        ("e.png", 40),
    ]


def test_progress_counts_the_decoded_images(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        write(tmp_path / name)
    shown: list[tuple[int, int]] = []
    ImageFolder.scan(tmp_path, lambda done, count: shown.append((done, count)))
    assert shown == [(1, 3), (2, 3), (3, 3)]
    ImageFolder.scan(tmp_path, lambda done, count: shown.append((done, count)))
    assert len(shown) == 3


def test_an_interrupted_scan_continues_where_it_was(tmp_path: Path, decoded: list[str]) -> None:
    for index in range(6):
        write(tmp_path / f"{index}.png")

    def interrupt(done: int, count: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ImageFolder.scan(tmp_path, interrupt)
    decoded.clear()
    assert len(ImageFolder.scan(tmp_path).files) == 6
    assert sorted(decoded) == ["4.png", "5.png"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a.png": 3}', '{"a.png": [1, 2]}', "\x00"])
def test_a_broken_cache_is_ignored(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    monkeypatch.setenv("IREASONER_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "images" / "a.png")
    ImageFolder.scan(tmp_path / "images")
    [file] = (tmp_path / "cache" / "images").iterdir()
    file.write_text(content)
    assert names(ImageFolder.scan(tmp_path / "images")) == ["a.png"]
    assert decoded == ["a.png", "a.png"]


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("IREASONER_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "images" / "a.png")
    for _ in range(2):
        assert names(ImageFolder.scan(tmp_path / "images")) == ["a.png"]
    assert decoded == ["a.png", "a.png"]
