"""Images come from folders, datasets, tables and archives; what cannot be read is named with its file and row."""

import io
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from PIL import Image

from ireasoner.trainer.errors import ImagesError, SettingsError, TrainerError, UnreadableImageError
from ireasoner.trainer.images import ImageFolder, ImageSet, ImageTable, image_table, open_images
from ireasoner.trainer.loop.image_order import ImageOrder
from ireasoner.trainer.settings import ImageDataSettings
from tests.trainer.datasets_of_images import (
    IN_ROWS,
    LISTED,
    Build,
    encoded,
    images,
    json_lines,
    parquet,
    table,
    tar,
    write_files,
)


def opened(address: Path, **data: Any) -> ImageSet:
    return open_images(address, ImageDataSettings(**data))


def widths(found: ImageSet) -> list[int]:
    return [file.width for file in found.files]


@pytest.mark.parametrize("form", [*IN_ROWS, *LISTED])
def test_every_form_gives_the_images_in_the_order_of_its_rows(form: str, tmp_path: Path) -> None:
    build: Build = {**IN_ROWS, **LISTED}[form]
    found = opened(build(tmp_path, images(5)))

    assert widths(found) == [40, 41, 42, 43, 44]
    assert [found.read(path).size for path in found.paths] == [(40 + n, 30) for n in range(5)]
    assert found.left_out == {}
    assert found.count == 5
    assert isinstance(found, ImageFolder if form in LISTED else ImageTable)


def test_a_folder_of_image_files_is_read_as_before_whatever_describes_them(tmp_path: Path) -> None:
    write_files(tmp_path, images(2))
    json_lines(tmp_path / "metadata.jsonl", [{"file_name": "00.png", "text": "a"}])
    table(tmp_path / "metadata.parquet", file_name=["00.png"])
    (tmp_path / "all.tar").write_bytes(b"")
    assert isinstance(opened(tmp_path), ImageFolder)


@pytest.mark.parametrize(
    ("split", "expected"), [(None, 4), ("train", 4), ("test", 2), ("train[1:3]", 2), ("test[:50%]", 1)]
)
def test_a_split_is_named_or_is_train(split: str | None, expected: int, tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", images(4))
    parquet(tmp_path / "test-0.parquet", images(2))
    assert len(opened(tmp_path, split=split).files) == expected


def test_the_only_split_needs_no_name(tmp_path: Path) -> None:
    parquet(tmp_path / "validation.parquet", images(3))
    found = opened(tmp_path)
    assert found.identity is not None
    assert (found.identity.split, found.identity.rows, found.identity.column) == ("validation", 3, "image")


@pytest.mark.parametrize(
    ("columns", "wanted", "expected"),
    [
        ({"picture": images(1)}, None, 40),
        ({"a": [encoded(1)], "b": [encoded(2)]}, "b", 42),
        ({"mask": [encoded(1)], "picture": [{"bytes": encoded(2), "path": None}]}, "mask", 41),
        ({"mask": [b"x"], "caption": ["a.png is blue"], "picture": [encoded(2)]}, "picture", 42),
    ],
)
def test_the_column_is_found_by_its_type_or_named(
    columns: dict[str, list[Any]], wanted: str | None, expected: int, tmp_path: Path
) -> None:
    assert widths(opened(table(tmp_path / "a.parquet", **columns), column=wanted)) == [expected]


def _torn(build: Callable[[Path], Path], keep: float = 0.6) -> Callable[[Path], Path]:
    def torn(folder: Path) -> Path:
        path = build(folder)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])
        return path

    return torn


def _both(folder: Path) -> Path:
    write_files(folder / "assets", images(1))
    return parquet(folder / "data" / "train.parquet", images(1)).parents[1]


def _two_splits(folder: Path) -> Path:
    parquet(folder / "test.parquet", images(1))
    return parquet(folder / "validation.parquet", images(1)).parent


def _text(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


REFUSED: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "nothing there": (lambda folder: folder / "gone", {}, r"there is no folder or file .*gone"),
    "a missing file": (
        lambda folder: folder / "gone.parquet",
        {},
        r"there is no folder or file .*gone\.parquet",
    ),
    "an image": (
        lambda folder: folder / write_files(folder, images(1))[0],
        {},
        r"00\.png is a file of no known kind: give a folder, a table \(\.parquet",
    ),
    "images and rows": (
        _both,
        {},
        r"holds both image files \(assets/00\.png\) and rows that may hold images \(data/train\.parquet\)",
    ),
    "no column of images": (
        lambda folder: table(folder / "a.parquet", text=["a"], number=[1]),
        {},
        r"a\.parquet has no column of images: text \(string\), number \(int64\)",
    ),
    "several columns of images": (
        lambda folder: table(folder / "a.parquet", left=images(1), right=images(1)),
        {},
        r"data\.column: .*a\.parquet has several columns of bytes: name one of left, right",
    ),
    "several columns of paths": (
        lambda folder: table(folder / "a.parquet", left=["a.png"], right=["b.png"]),
        {},
        r"several columns of paths of images: name one of left, right",
    ),
    "no such column": (
        lambda folder: parquet(folder / "a.parquet", images(1)),
        {"column": "img"},
        r"has no column 'img'; its columns are image",
    ),
    "a column of something else": (
        lambda folder: parquet(folder / "a.parquet", images(1), label=[3]),
        {"column": "label"},
        r"no images in this column: label \(int64\)",
    ),
    "an empty table": (
        lambda folder: parquet(folder / "a.parquet", []),
        {},
        r"a\.parquet cannot be read: it has no rows",
    ),
    "no readable image": (
        lambda folder: parquet(folder / "a.parquet", [b"x", None]),
        {},
        r"no readable image in 2 rows\n  row 0: no image in one of the formats .*\n  row 1: it holds no image",
    ),
    "no such split": (
        lambda folder: parquet(folder / "train.parquet", images(1)).parent,
        {"split": "test"},
        r"it has no split 'test': data\.split is one of train",
    ),
    "several splits without train": (
        _two_splits,
        {},
        r"it has several splits: set data\.split to one of (test, validation|validation, test)",
    ),
    "a torn parquet": (
        _torn(lambda folder: parquet(folder / "a.parquet", images(4))),
        {},
        r"images: .*a\.parquet cannot be read: .*(magic|footer)",
    ),
    "a torn tar": (
        _torn(lambda folder: tar(folder / "a.tar", {"a.png": encoded(1), "b.png": bytes(9999)}), 0.4),
        {},
        r"images: .*a\.tar cannot be read: .*(unexpected end|truncated)",
    ),
    "a tar that is none": (
        lambda folder: _text(folder, "a.tar", "words" * 300),
        {},
        r"images: .*a\.tar cannot be read: ",
    ),
    "a tar without images": (
        lambda folder: tar(folder / "a.tar", {"a.txt": b"words"}),
        {},
        r"a\.tar cannot be read: it holds no file of the kind that is read",
    ),
    "a bad JSON line": (
        lambda folder: _text(folder, "a.jsonl", '{"image": "a.png"}\n\n{"image": \n'),
        {},
        r"a\.jsonl cannot be read: line 3: not JSON",
    ),
    "a JSON line that is no object": (
        lambda folder: _text(folder, "a.jsonl", '{"image": "a.png"}\n"b.png"\n'),
        {},
        r"a\.jsonl cannot be read: line 2: not a JSON object",
    ),
    "an empty file": (lambda folder: _text(folder, "a.jsonl", ""), {}, r"images: .*a\.jsonl"),
    "paths in a folder of tables": (
        lambda folder: table(folder / "set" / "a.parquet", path=["a.png"]).parent,
        {},
        r"column 'path', holds paths, which only a file of rows can have",
    ),
    "a setting without meaning": (
        lambda folder: (write_files(folder, images(1)), folder)[1],
        {"split": "train"},
        r"data\.split: images is a folder of image files .*, which has no split",
    ),
    "a revision of a file": (
        lambda folder: parquet(folder / "a.parquet", images(1)),
        {"revision": "main"},
        r"data\.revision: images is a file of rows",
    ),
    "a column of an archive": (
        lambda folder: tar(folder / "a.tar", {"a.png": encoded(1)}),
        {"column": "image"},
        r"data\.column: images is an archive",
    ),
    "a buffer without a stream": (
        lambda folder: parquet(folder / "a.parquet", images(1)),
        {"shuffle_buffer": 3},
        r"data\.shuffle_buffer: without data\.streaming all images are shuffled",
    ),
    "a stream of paths": (
        lambda folder: table(folder / "a.parquet", path=write_files(folder, images(1))),
        {"streaming": True},
        r"data\.streaming: .* lists image files",
    ),
    "a stream of a part": (
        lambda folder: parquet(folder / "a.parquet", images(1)),
        {"streaming": True, "split": "train[:1]"},
        r"data\.split: 'train\[:1\]' is a part of a split, which cannot be streamed",
    ),
    "a stream of a saved dataset": (
        lambda folder: IN_ROWS["saved"](folder, images(1)),
        {"streaming": True},
        r"data\.streaming: images is a dataset that was saved to a folder",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_named(case: str, tmp_path: Path) -> None:
    build, data, reason = REFUSED[case]
    with pytest.raises(TrainerError, match=reason) as raised:
        opened(build(tmp_path), **data)
    assert isinstance(raised.value, ImagesError | SettingsError)
    assert raised.value.exit_status == 2


def test_a_first_row_that_is_damaged_hides_no_column(tmp_path: Path) -> None:
    found = opened(parquet(tmp_path / "a.parquet", [b"torn", encoded(1)], caption=["a", "b"]))
    assert [file.name for file in found.files] == ["row 1"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "it holds no image"),
        (b"", "it holds no image"),
        (b"words", "no image in one of the formats AVIF"),
        (encoded(3)[:60], "truncated|Truncated"),
    ],
)
def test_a_damaged_row_is_left_out_and_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    found = opened(parquet(tmp_path / "a.parquet", [encoded(0), content, encoded(2)]))
    assert [file.name for file in found.files] == ["row 0", "row 2"]
    assert list(found.left_out) == ["row 1"]
    assert re.search(reason, found.left_out["row 1"])


def test_a_row_of_several_images_is_left_out(tmp_path: Path) -> None:
    two = [[{"bytes": encoded(n), "path": None} for n in range(count)] for count in (1, 2, 0)]
    from datasets import Dataset, Features, List
    from datasets import Image as ImageFeature

    Dataset.from_dict({"images": two}, features=Features({"images": List(ImageFeature())})).to_parquet(
        str(tmp_path / "a.parquet")
    )
    assert opened(tmp_path / "a.parquet").left_out == {
        "row 1": "it holds 2 images, not one",
        "row 2": "it holds 0 images, not one",
    }


def test_a_listed_file_that_is_missing_or_torn_is_left_out_and_named(tmp_path: Path) -> None:
    write_files(tmp_path, images(2))
    (tmp_path / "01.png").write_bytes(encoded(1)[:50])
    rows = ["00.png", "01.png", "gone.png", None, "", "00.png"]
    found = opened(table(tmp_path / "a.parquet", path=rows))
    assert [file.name for file in found.files] == ["00.png"]
    assert found.left_out["row 2 (gone.png)"] == "No such file or directory"
    assert found.left_out["row 3"] == found.left_out["row 4"] == "it names no file"
    assert "01.png" in found.left_out
    assert found.paths == (tmp_path / "00.png",)


def test_a_row_is_decoded_as_a_file_is(tmp_path: Path) -> None:
    turned, buffer = Image.new("RGB", (50, 20), "red"), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(buffer, format="JPEG", exif=exif)
    found = opened(parquet(tmp_path / "a.parquet", [buffer.getvalue()]))
    assert [(file.width, file.height) for file in found.files] == [(20, 50)]
    assert found.first_readable().size == (20, 50)


def test_a_second_scan_of_the_same_rows_decodes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    scanned = image_table._scanned

    def count(rows: Any, column: str, row: int) -> Any:
        decoded.append(row)
        return scanned(rows, column, row)

    monkeypatch.setattr(image_table, "_scanned", count)
    address = parquet(tmp_path / "a.parquet", [encoded(0), b"torn", encoded(2)])
    first = opened(address)
    assert sorted(decoded) == [0, 1, 2]
    assert opened(address) == first
    assert decoded[3:] == [1], "what was unreadable is tried again"
    parquet(address, [encoded(5), encoded(6)])
    assert widths(opened(address)) == [45, 46]


def test_a_copy_for_another_process_has_names_and_sizes_and_no_rows(tmp_path: Path) -> None:
    found = opened(parquet(tmp_path / "a.parquet", images(3)))
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found
    assert copy.paths == found.paths
    assert copy.rows is None


@pytest.mark.parametrize(
    "again",
    ["./00.png", "sub/../00.png", ".//00.png", "{folder}/00.png", "{folder}/./sub/../00.png", "link.png"],
)
def test_a_file_that_is_listed_twice_counts_once(again: str, tmp_path: Path) -> None:
    write_files(tmp_path, images(1))
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "00.png")
    found = opened(table(tmp_path / "a.parquet", path=["00.png", again.format(folder=tmp_path)]))
    assert [file.name for file in found.files] == ["00.png"]
    assert found.paths == (tmp_path / "00.png",)
    assert ImageOrder(found.paths, 1, 0).at(3) == [tmp_path / "00.png"]


def test_files_of_one_name_in_two_folders_count_twice(tmp_path: Path) -> None:
    for sub in ("a", "b"):
        write_files(tmp_path / sub, images(1))
    found = opened(table(tmp_path / "a.parquet", path=["a/00.png", "b/00.png"]))
    assert len(found.paths) == len(found.files) == 2


def test_a_subfolder_that_cannot_be_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, images(1))
    (tmp_path / "locked").mkdir()
    listed = os.scandir

    def scan(path: Any = ".") -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scan)
    found = opened(tmp_path)
    assert widths(found) == [40]
    assert found.left_out == {"locked/": "Permission denied"}


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_a_folder_of_images_may_hold_a_file_of_a_saved_datasets_name(name: str, tmp_path: Path) -> None:
    write_files(tmp_path, images(2))
    (tmp_path / name).write_text("{}")
    assert isinstance(opened(tmp_path), ImageFolder)


SIGNS = ["a[1]", "b*c", "d?e", "f[!x]", "g[", "{h,i}", "j[[]k"]


@pytest.mark.parametrize("name", SIGNS)
@pytest.mark.parametrize("form", ["parquet", "tar", "CSV of paths", "JSON lines of paths"])
def test_a_file_whose_path_looks_like_a_pattern_is_read(form: str, name: str, tmp_path: Path) -> None:
    address = {**IN_ROWS, **LISTED}[form](tmp_path / name, images(2))
    assert widths(opened(address.rename(address.with_stem(name)))) == [40, 41]


@pytest.mark.parametrize("name", SIGNS)
def test_a_folder_whose_name_is_a_pattern_is_refused_and_not_another_read(name: str, tmp_path: Path) -> None:
    parquet(tmp_path / "bxc" / "a.parquet", images(3))
    address = parquet(tmp_path / name / "a.parquet", images(2)).parent
    if name == "{h,i}":
        assert widths(opened(address)) == [40, 41]
        return
    (tmp_path / "link").symlink_to(address)
    for path in (address, tmp_path / "link"):
        with pytest.raises(ImagesError, match=r"holds one of \* \? \[, .*rename it$"):
            opened(path)


@pytest.mark.parametrize("first", ["", None, "no suffix", "01"])
def test_a_named_column_of_paths_needs_no_suffix_in_its_first_row(first: str | None, tmp_path: Path) -> None:
    write_files(tmp_path, images(2))
    (tmp_path / "01").write_bytes(encoded(1))
    address = table(tmp_path / "a.parquet", image=[first, "00.png"], text=["a", "b"])
    assert widths(opened(address, column="image")) == ([41, 40] if first == "01" else [40])
    with pytest.raises(ImagesError, match="no column of images"):
        opened(address)


def _ragged(folder: Path) -> Path:
    return _text(folder, "a.csv", 'path\na.png\nb.png,c,"d\n')


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a bad JSON line": (
        lambda folder: _text(folder, "a.jsonl", '{"image": "a.png"}\n{"image": \n'),
        r"line 2: not JSON",
    ),
    "no JSON at all": (lambda folder: _text(folder, "a.jsonl", "words\n"), r"line 1: not JSON"),
    "a ragged CSV": (_ragged, "."),
    "a torn parquet": (_torn(lambda folder: parquet(folder / "a.parquet", images(4))), "(magic|footer)"),
    "a torn tar": (
        _torn(lambda folder: tar(folder / "a.tar", {"a.png": encoded(1), "b.png": bytes(9999)}), 0.4),
        "(unexpected end|truncated)",
    ),
    "a tar that is none": (lambda folder: _text(folder, "a.tar", "words" * 300), "."),
    "a torn arrow": (lambda folder: _text(folder, "a.arrow", "words" * 30), "."),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_stream_that_cannot_be_read_is_named(case: str, tmp_path: Path) -> None:
    build, reason = BROKEN[case]
    address = build(tmp_path)
    named = re.escape(f"images: {address} cannot be read: ")
    with pytest.raises(ImagesError, match=rf"^{named}.*{reason}") as raised:
        opened(address, streaming=True)
    assert "\n" not in str(raised.value)


def test_rows_whose_file_is_gone_are_unreadable_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(parquet(tmp_path / "a.parquet", images(2)))
    monkeypatch.setattr(Dataset, "__getitem__", lambda *_: 1 / 0)
    with pytest.raises(UnreadableImageError, match=r"a\.parquet/row 0: .*cannot be read: division by zero"):
        found.read(found.paths[0])
