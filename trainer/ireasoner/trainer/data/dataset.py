"""Opens the rows of an address through `datasets`."""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireasoner.trainer.data.address import TABLES, Kind
from ireasoner.trainer.data.archive import CONTENT, MEMBER, members, stamp_of
from ireasoner.trainer.data.bad_line import first_bad_line
from ireasoner.trainer.data.identity import Identity
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.settings import DatasetSettings
from ireasoner.trainer.shown_path import shown

_COMMIT = re.compile(r"@([0-9a-f]{40})")
_DEFAULT_SPLIT = "train"


@dataclass(frozen=True, slots=True)
class Rows:
    """Opened rows.

    Attributes:
        data: A `datasets.Dataset`, or an `IterableDataset` if it is streamed.
        identity: What the dataset is.
        folder: Paths in its rows are relative to it; None if paths mean nothing.
    """

    data: Any
    identity: Identity
    folder: Path | None

    @property
    def features(self) -> Any:
        """The type of each column; those of a stream without types are found from its first rows."""
        return self.data.features or self.data._resolve_features().features

    def first(self, columns: Sequence[str]) -> Mapping[str, Any]:
        """What some columns hold in the first row, which is not decoded beyond them; empty without rows."""
        row: Mapping[str, Any] = next(iter(self.data.select_columns(list(columns))), {})
        return row

    def with_data(self, data: Any, column: str) -> "Rows":
        """The rows after a cast of the column that is used."""
        fingerprint = getattr(data, "_fingerprint", None)
        return Rows(
            data,
            self.identity.model_copy(update={"column": column, "fingerprint": fingerprint}),
            self.folder,
        )


def open_rows(
    setting: str,
    address: Path,
    kind: Kind,
    data: DatasetSettings,
    *,
    suffixes: Sequence[str] = (),
    may_choose_split: bool = True,
) -> Rows:
    """Opens a dataset, downloading it if it is on the hub and not streamed.

    Args:
        setting: The setting that holds the address, for messages.
        address: The address.
        kind: What it is.
        data: Which part of it, and how.
        suffixes: The files of an archive that are rows; without any, files that share their name are one (webdataset).
        may_choose_split: Whether `train` is taken of several splits if none is named.

    Raises:
        ImagesError: It cannot be read; the message names it, and the line of a bad JSON-lines file.
    """
    with _readable(setting, address, kind):
        if kind is Kind.SAVED:
            return _saved(address, data, may_choose_split)
        if kind is Kind.ARCHIVE and suffixes:
            return _archive(address, data, suffixes)
        return _built(address, kind, data, may_choose_split)


def _saved(address: Path, data: DatasetSettings, may_choose_split: bool) -> Rows:
    from datasets import DatasetDict, load_from_disk

    loaded = load_from_disk(str(address))
    split = data.split
    if isinstance(loaded, DatasetDict):
        split = _split(list(loaded), data.split, may_choose_split)
        loaded = loaded[split]
    elif split is not None and split != str(loaded.split):
        raise ValueError(f"it holds one split, {loaded.split}, not {split!r}")
    return Rows(loaded, Identity(address=str(address), split=split, rows=len(loaded)), address)


def _archive(address: Path, data: DatasetSettings, suffixes: Sequence[str]) -> Rows:
    from datasets import Dataset, Features, IterableDataset, Value

    features = Features({MEMBER: Value("string"), CONTENT: Value("large_binary")})
    source = IterableDataset if data.streaming else Dataset
    rows = source.from_generator(
        members,
        features=features,
        gen_kwargs={
            "path": str(address.resolve()),
            "suffixes": tuple(sorted(suffixes)),
            "stamp": stamp_of(address),
        },
    )
    count = None if data.streaming else len(rows)
    return Rows(rows, Identity(address=str(address), files=_sizes([str(address)]), rows=count), None)


def _built(address: Path, kind: Kind, data: DatasetSettings, may_choose_split: bool) -> Rows:
    from datasets import load_dataset_builder

    if kind in (Kind.TABLE, Kind.ARCHIVE):
        form = "webdataset" if kind is Kind.ARCHIVE else TABLES[address.suffix.lower()]
        builder = load_dataset_builder(form, data_files={_DEFAULT_SPLIT: [str(address.absolute())]})
    else:
        place = str(address) if kind is Kind.HUB else str(address.absolute())
        builder = load_dataset_builder(place, data.subset, revision=data.revision)
    files = builder.config.data_files or {}
    known = list(builder.info.splits or files)
    name, bracket, part = (data.split or "").partition("[")
    split = _split(known, name or None, may_choose_split)
    if data.streaming:
        rows = builder.as_streaming_dataset(split=split)
        info = (builder.info.splits or {}).get(split)
        count = info.num_examples or None if info is not None else None
    else:
        builder.download_and_prepare()
        rows = builder.as_dataset(split=f"{split}{bracket}{part}")
        count = len(rows)
    names = [str(file) for file in files.get(split, ())]
    identity = Identity(
        address=str(address),
        subset=data.subset,
        split=f"{split}{bracket}{part}",
        commit=_commit([str(builder.base_path), *names]),
        files=_sizes(names),
        rows=count,
    )
    return Rows(
        rows, identity, address.parent if kind is Kind.TABLE else address if kind is Kind.DATASET else None
    )


def _split(known: Sequence[str], wanted: str | None, may_choose: bool) -> str:
    """The split to read.

    Raises:
        ValueError: There is no such split, or several and none is named.
    """
    names = list(map(str, known))
    if wanted is not None:
        if names and wanted not in names:
            raise ValueError(f"it has no split {wanted!r}: data.split is one of {', '.join(names)}")
        return wanted
    if len(names) <= 1:
        return names[0] if names else _DEFAULT_SPLIT
    if may_choose and _DEFAULT_SPLIT in names:
        return _DEFAULT_SPLIT
    raise ValueError(f"it has several splits: set data.split to one of {', '.join(names)}")


def _sizes(names: Sequence[str]) -> dict[str, int]:
    """The size in bytes of each local file, by its name; -1 of one that is elsewhere."""
    return {name: os.stat(name).st_size if os.path.isfile(name) else -1 for name in names}  # noqa: PTH113, PTH116


def _commit(places: Sequence[str]) -> str | None:
    """The commit of the hub in the addresses of data files."""
    found = (_COMMIT.search(place) for place in places if place.startswith("hf://"))
    return next((match[1] for match in found if match is not None), None)


@contextmanager
def _readable(setting: str, address: Path, kind: Kind) -> Iterator[None]:
    """Names a dataset that cannot be read, and silences `datasets`' own reports of it.

    Raises:
        ImagesError: The block failed: what `datasets` raises for a broken file depends on the file.
    """
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub", "fsspec")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)  # the error reports the last
    try:
        yield
    except Exception as error:
        raise ImagesError(
            f"{setting}: {shown(address)} cannot be read: {_reason(error, address, kind)}"
        ) from error
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _reason(error: Exception, address: Path, kind: Kind) -> str:
    if kind is Kind.TABLE and TABLES[address.suffix.lower()] == "json":
        bad = first_bad_line(address)
        if bad is not None:
            return bad
    cause = error
    while cause.__cause__ is not None and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    said = " ".join(f"{cause}".split()).rstrip(".") or type(cause).__name__
    if "corresponds to no data" in said:
        return "it holds no file of the kind that is read" if kind is Kind.ARCHIVE else "it has no rows"
    if "Config name is missing" in said:
        said = f"it has several subsets: set data.subset ({said})"
    if kind is Kind.HUB:
        return (
            f"{said}. It is no folder or file here; as a dataset of the hub it needs a network, or a copy that "
            "`datasets` keeps from an earlier run"
        )
    return said
