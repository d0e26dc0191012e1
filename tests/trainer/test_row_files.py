"""Rows that hold the path of an image: files here, members of archives, and what `datasets` resolved."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, List
from datasets import Image as ImageFeature

from ireasoner.trainer.data import Kind, RowFiles
from ireasoner.trainer.data import archive as archives
from ireasoner.trainer.errors import ImagesError, UnreadableImageError
from ireasoner.trainer.images import ImageSet, dataset_image, open_images, read_image
from ireasoner.trainer.images.dataset_image import content_of
from ireasoner.trainer.run_folder.image_list import image_changes, write_image_list
from ireasoner.trainer.settings import ImageDataSettings
from tests.trainer.datasets_of_images import encoded, images, table, write_files


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def of_images(count: int) -> dict[str, bytes]:
    return {f"sub/{number:02}.png": encoded(number) for number in range(count)}


def widths(found: ImageSet) -> list[int]:
    return sorted(file.width for file in found.files)


def first(found: ImageSet) -> int:
    return found.read(found.paths[0]).width


def _described(folder: Path) -> Path:
    lines = "".join(f'{{"file_name": "sub/{n:02}.png", "text": "a"}}\n' for n in range(3))
    return zipped(folder / "images.zip", {**of_images(3), "metadata.jsonl": lines.encode()}).parent


def _saved(folder: Path) -> Path:
    zipped(folder / "images.zip", of_images(3))
    rows = [
        {"bytes": None, "path": f"zip://sub/{n:02}.png::{folder / 'images.zip'}"} if n else encoded(0)
        for n in range(3)
    ]
    Dataset.from_dict({"image": rows}, features=Features({"image": ImageFeature()})).save_to_disk(
        str(folder / "set")
    )
    return folder / "set"


RESOLVED: dict[str, Callable[[Path], Path]] = {
    "only a zip": lambda folder: zipped(folder / "images.zip", of_images(3)).parent,
    "a zip in a subfolder": lambda folder: zipped(folder / "data" / "train.zip", of_images(3)).parents[1],
    "two zips": lambda folder: (
        (
            zipped(folder / "b.zip", {"02.png": encoded(2)}),
            zipped(folder / "a.zip", of_images(2)),
        )[1].parent
    ),
    "a zip of classes": lambda folder: (
        zipped(folder / "images.zip", {f"train/{'ab'[n % 2]}/{n}.png": encoded(n) for n in range(3)}).parent
    ),
    "a zip of another name": lambda folder: zipped(folder / "ünï 1.zip", of_images(3)).parent,
    "a zip with a list": _described,
    "a saved dataset": _saved,
}


@pytest.mark.parametrize(
    ("form", "streaming"),
    [*((form, False) for form in RESOLVED), *((form, True) for form in RESOLVED if "saved" not in form)],
)
def test_a_folder_whose_images_are_in_a_zip_is_read(form: str, streaming: bool, tmp_path: Path) -> None:
    address = RESOLVED[form](tmp_path)
    found = open_images(address, ImageDataSettings(streaming=streaming))
    assert widths(found) == [40, 41, 42]
    assert found.left_out == {}
    if not streaming:
        assert first(found) == found.files[0].width


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_a_hub_dataset_of_image_files_is_read(
    streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(open_images.__globals__, "check_images_address", lambda *_: Kind.HUB)
    write_files(tmp_path / "train", images(3))
    found = open_images(tmp_path, ImageDataSettings(streaming=streaming))
    assert widths(found) == [40, 41, 42]
    assert found.left_out == {}


def test_an_address_in_a_row_is_opened_only_where_datasets_made_it(tmp_path: Path) -> None:
    inside = f"zip://sub/00.png::{zipped(tmp_path / 'a.zip', of_images(1))}"
    [name] = write_files(tmp_path, images(1))
    made, of_a_table, of_nothing = RowFiles(None, resolved=True), RowFiles(tmp_path), RowFiles()

    def read(path: str, files: RowFiles) -> bytes:
        return content_of({"bytes": None, "path": path}, "row 0", files)

    for path in (inside, str(tmp_path / name)):
        assert read(path, made) == encoded(0)
        with pytest.raises(UnreadableImageError, match=r"it holds a path .* and no image"):
            read(path, of_nothing)
    assert read(name, of_a_table) == read(str(tmp_path / name), of_a_table) == encoded(0)
    for files, path, reason in (
        (made, name, "it holds a path"),
        (of_a_table, inside, "No such file"),
        (of_a_table, "http://127.0.0.1:9/a.png", "No such file"),
        (made, inside.replace("00", "99"), "99"),
        (made, inside.replace("a.zip", "b.zip"), "b.zip"),
        (made, "nonsense://a.png", "nonsense"),
        (of_a_table, "a\0.png", "null"),
    ):
        with pytest.raises(UnreadableImageError, match=reason):
            read(path, files)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "too large"])
def test_a_path_of_no_ordinary_file_is_left_out_at_once(kind: str, tmp_path: Path) -> None:
    [name] = write_files(tmp_path, images(1))
    if kind == "too large":
        (tmp_path / "odd").write_bytes(b"")
        os.truncate(tmp_path / "odd", 2**30 + 1)
    elif kind == "pipe":
        os.mkfifo(tmp_path / "odd")
    elif kind == "folder":
        (tmp_path / "odd").mkdir()
    path = "/dev/zero" if kind == "device" else "odd"
    rows = [{"bytes": None, "path": each} for each in (name, path)]
    found = open_images(table(tmp_path / "a.parquet", image=rows), ImageDataSettings())
    assert widths(found) == [40]
    assert found.left_out["row 1"].startswith(f"{path}: it ")


def test_a_huge_member_of_an_archive_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = len(encoded(0)) + 10
    monkeypatch.setattr(archives, "MOST_BYTES", most)
    monkeypatch.setattr(dataset_image, "MOST_BYTES", most)
    monkeypatch.setitem(read_image.__globals__, "MOST_BYTES", most)
    bomb = zipped(tmp_path / "set" / "a.zip", {"a.png": encoded(0), "b.png": encoded(1) + bytes(10**6)})
    read = [row[archives.CONTENT] for row in archives.members(str(bomb), (".png",), (0, 0))]
    assert [len(content) for content in read] == [len(encoded(0)), most + 1]
    for address in (bomb, bomb.parent):
        found = open_images(address, ImageDataSettings())
        assert widths(found) == [40]
        assert found.left_out == {"row 1": f"it has more than {most:,} bytes, the most that are read"}


def _in_table(folder: Path, content: bytes) -> Path:
    (folder / "a.png").write_bytes(content)
    rows = [{"bytes": None, "path": "a.png"}, {"bytes": encoded(1), "path": "b.png"}]
    return table(folder / "a.parquet", image=rows)


def _in_list(folder: Path, content: bytes) -> Path:
    (folder / "a.png").write_bytes(content)
    schema = Features({"images": List(ImageFeature())}).arrow_schema
    rows = [[{"bytes": None, "path": "a.png"}], [{"bytes": encoded(1), "path": None}], []]
    pq.write_table(pa.Table.from_pydict({"images": rows}, schema=schema), folder / "a.parquet")
    return folder / "a.parquet"


def _in_zip(folder: Path, content: bytes) -> Path:
    return zipped(folder / "set" / "a.zip", {"a.png": content, "b.png": encoded(1)}).parent


@pytest.mark.parametrize("build", [_in_table, _in_list, _in_zip], ids=["a table", "lists", "a zip"])
def test_a_replaced_file_of_a_row_is_scanned_again_and_named_on_resume(
    build: Callable[[Path, bytes], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    address = build(tmp_path, encoded(0))
    write_image_list(run, open_images(address, ImageDataSettings()))
    assert image_changes(run, open_images(address, ImageDataSettings()), accept_changed=False) == []
    other = encoded(0)[:-4] + b"abcd"  # as many bytes, as many pixels
    time_ns = max(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) + 10**9
    file = address / "a.zip" if build is _in_zip else tmp_path / "a.png"
    if build is _in_zip:
        zipped(file, {"a.png": other, "b.png": encoded(1)})
    else:
        file.write_bytes(other)
    os.utime(file, ns=(time_ns, time_ns))
    with pytest.raises(ImagesError, match=r"1 replaced: row 0 \("):
        image_changes(run, open_images(address, ImageDataSettings()), accept_changed=False)


def test_rows_that_hold_their_images_are_not_stamped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    stamp = RowFiles.stamp

    def count(self: RowFiles, path: str) -> tuple[int, int]:
        asked.append(path)
        return stamp(self, path)

    monkeypatch.setattr(RowFiles, "stamp", count)
    open_images(_in_table(tmp_path, encoded(0)), ImageDataSettings())
    assert asked == ["a.png"]
