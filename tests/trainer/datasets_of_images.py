"""Small datasets of images in every form that people have them."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, List, Value
from datasets import Image as ImageFeature
from PIL import Image

Build = Callable[[Path, Sequence[bytes]], Path]
"""Writes encoded images below a folder, and returns the address to give."""

ROW = "row {}".format


def encoded(number: int, suffix: str = "PNG") -> bytes:
    """An image that no other number gives, of 40 + number by 30 pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (40 + number, 30), (number * 7 % 256, 90, 10)).save(buffer, format=suffix)
    return buffer.getvalue()


def images(count: int) -> list[bytes]:
    """The first `count` images."""
    return [encoded(number) for number in range(count)]


def parquet(path: Path, contents: Sequence[bytes | None], column: str = "image", **columns: Any) -> Path:
    """A parquet file whose column has the type `Image`, as a dataset of the hub does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [None if content is None else {"bytes": content, "path": None} for content in contents]
    features = {column: ImageFeature(), **{name: _value(values) for name, values in columns.items()}}
    Dataset.from_dict({column: rows, **columns}, features=Features(features)).to_parquet(str(path))
    return path


def _value(values: Sequence[Any]) -> Any:
    return (
        List(_value(values[0]))
        if isinstance(values[0], list)
        else Value("string" if isinstance(values[0], str) else "int64")
    )


def table(file: Path, /, **columns: Any) -> Path:
    """A parquet file of columns without types of `datasets`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def json_lines(path: Path, rows: Sequence[Any]) -> Path:
    """A file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_files(folder: Path, contents: Sequence[bytes]) -> list[str]:
    """Writes image files, and returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{number:02}.png" for number in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(content)
    return names


def tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    """A tar of files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _members(contents: Sequence[bytes]) -> dict[str, bytes]:
    return {f"photos/IMG.{number:02}.10.png": content for number, content in enumerate(contents)}


def _saved(path: Path, contents: Sequence[bytes]) -> Path:
    rows = [{"bytes": content, "path": None} for content in contents]
    Dataset.from_dict({"image": rows}, features=Features({"image": ImageFeature()})).save_to_disk(str(path))
    return path


def _saved_splits(path: Path, contents: Sequence[bytes]) -> Path:
    rows = [{"bytes": content, "path": None} for content in contents]
    train = Dataset.from_dict({"image": rows}, features=Features({"image": ImageFeature()}))
    DatasetDict({"train": train, "test": train.select([0])}).save_to_disk(str(path))
    return path


def _lists(path: Path, contents: Sequence[bytes]) -> Path:
    rows = [[{"bytes": content, "path": None}] for content in contents]
    features = Features({"images": List(ImageFeature())})
    Dataset.from_dict({"images": rows}, features=features).to_parquet(str(path))
    return path


def _folder(path: Path, contents: Sequence[bytes]) -> Path:
    half = len(contents) // 2
    for number, part in enumerate((contents[:half], contents[half:])):
        parquet(path / "data" / f"train-{number:05}-of-00002.parquet", part)
    return path


IN_ROWS: dict[str, Build] = {
    "parquet": lambda folder, contents: parquet(
        folder / "a.parquet", contents, caption=["x"] * len(contents)
    ),
    "parquet, plain struct": lambda folder, contents: table(
        folder / "a.parquet",
        id=list(range(len(contents))),
        picture=[{"bytes": content, "path": "a.png"} for content in contents],
    ),
    "parquet, bytes": lambda folder, contents: table(
        folder / "a.parquet", jpg=list(contents), name=["a.png"] * len(contents)
    ),
    "parquet, lists of one": lambda folder, contents: _lists(folder / "a.parquet", contents),
    "folder of parquet": lambda folder, contents: _folder(folder / "set", contents),
    "saved": lambda folder, contents: _saved(folder / "set", contents),
    "saved splits": lambda folder, contents: _saved_splits(folder / "set", contents),
    "tar": lambda folder, contents: tar(folder / "a.tar", _members(contents)),
    "tar.gz": lambda folder, contents: tar(folder / "a.tar.gz", _members(contents), "w:gz"),
    "tar beside other files": lambda folder, contents: tar(
        folder / "a.TAR",
        {"README.md": b"words", **_members(contents), "x/.hidden.png": b"", "labels.json": b"{}"},
    ),
    "zip": lambda folder, contents: _zip(folder / "a.zip", _members(contents)),
}
"""Forms that hold the images themselves."""

LISTED: dict[str, Build] = {
    "JSON lines of paths": lambda folder, contents: json_lines(
        folder / "list.jsonl", [{"image": f"sub/{name}"} for name in write_files(folder / "sub", contents)]
    ),
    "JSON lines of paths and words": lambda folder, contents: json_lines(
        folder / "list.ndjson",
        [
            {"id": str(n), "file": name, "text": "a cat"}
            for n, name in enumerate(write_files(folder, contents))
        ],
    ),
    "one JSON array": lambda folder, contents: _json_array(folder / "list.json", contents),
    "parquet of paths": lambda folder, contents: table(
        folder / "list.parquet", path=write_files(folder, contents)
    ),
    "absolute paths": lambda folder, contents: table(
        folder / "list.parquet", path=[str(folder / name) for name in write_files(folder, contents)]
    ),
    "CSV of paths": lambda folder, contents: _csv(folder / "list.csv", write_files(folder, contents)),
}
"""Forms that list image files."""


def _json_array(path: Path, contents: Sequence[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"image": name} for name in write_files(path.parent, contents)], indent=1))
    return path


def _csv(path: Path, names: Sequence[str]) -> Path:
    path.write_text("\n".join(["path", *names]) + "\n")
    return path
