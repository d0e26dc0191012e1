"""Opens the rows of an address through `datasets`."""

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ireasoner.trainer.data.address import TABLES, Kind
from ireasoner.trainer.data.archive import CONTENT, MEMBER, members
from ireasoner.trainer.data.identity import Identity
from ireasoner.trainer.data.row_files import RowFiles, stamp_of
from ireasoner.trainer.data.source import Source
from ireasoner.trainer.settings import DatasetSettings

_COMMIT = re.compile(r"@([0-9a-f]{40})")
_DEFAULT_SPLIT = "train"
_BATCH_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Rows:
    """Opened rows. Each method that reads raises an `ImagesError` if they cannot be read.

    Attributes:
        source: Where they come from.
        data: A `datasets.Dataset`, or an `IterableDataset` if it is streamed.
        identity: What the dataset is.
        files: The files that paths in its rows name.
    """

    source: Source
    data: Any
    identity: Identity
    files: RowFiles

    @property
    def features(self) -> Any:
        """The type of each column; those of a stream without types are found from its first rows."""
        with self.source.readable():
            return self.data.features or self.data._resolve_features().features

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        with self.source.readable():
            rows = iter(self.data)
        while True:
            with self.source.readable():
                row = next(rows, None)
            if row is None:
                return
            yield row

    def first(self, columns: Sequence[str]) -> Mapping[str, Any]:
        """What some columns hold in the first row, which is not decoded beyond them; empty without rows."""
        return next(iter(self.select(columns)), {})

    def value(self, column: str, row: int) -> Any:
        """What a column of rows that are not streamed holds in one of them."""
        with self.source.readable():
            return self.data[row][column]

    def values(self, column: str) -> list[Any]:
        """What a column of rows that are not streamed holds."""
        with self.source.readable():
            values: list[Any] = self.data.select_columns(column).to_dict()[column]
            return values

    def select(self, columns: Sequence[str]) -> "Rows":
        """The rows with some columns alone."""
        with self.source.readable():
            return replace(self, data=self.data.select_columns(list(columns)))

    def cast(self, column: str, feature: Any) -> "Rows":
        """The rows after a cast of the column that is used."""
        with self.source.readable():
            data = self.data.cast_column(column, feature)
        fingerprint = getattr(data, "_fingerprint", None)
        identity = self.identity.model_copy(update={"column": column, "fingerprint": fingerprint})
        return replace(self, data=data, identity=identity)

    def stamps(self, column: str) -> list[tuple[int, int]]:
        """What changes with the image of each row, besides the rows: the stamp of its file if the row holds a path.

        Args:
            column: The column of images, cast, of rows that are not streamed.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        stamps = [(0, 0)] * len(self.data)
        first = 0
        with self.source.readable():
            for batch in self.data.with_format("arrow").iter(_BATCH_ROWS):
                held = batch[column].combine_chunks()
                rows = range(len(held))
                if pa.types.is_list(held.type):
                    held, rows = pc.list_flatten(held), pc.list_parent_indices(held).to_pylist()
                paths = pc.if_else(
                    pc.is_null(pc.struct_field(held, "bytes")), pc.struct_field(held, "path"), None
                )
                for row, path in zip(rows, paths.to_pylist(), strict=True):
                    if path is not None:
                        stamps[first + row] = self.files.stamp(path)
                first += len(batch)
        return stamps


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
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    source = Source(setting, address, kind)
    with source.readable():
        if kind is Kind.SAVED:
            return _saved(source, data, may_choose_split)
        if kind is Kind.ARCHIVE and suffixes:
            return _archive(source, data, suffixes)
        return _built(source, data, may_choose_split)


def _saved(source: Source, data: DatasetSettings, may_choose_split: bool) -> Rows:
    from datasets import DatasetDict, load_from_disk

    address = source.address
    loaded = load_from_disk(str(address))
    split = data.split
    if isinstance(loaded, DatasetDict):
        split = _split(list(loaded), data.split, may_choose_split)
        loaded = loaded[split]
    elif split is not None and split != str(loaded.split):
        raise ValueError(f"it holds one split, {loaded.split}, not {split!r}")
    identity = Identity(address=str(address), split=split, rows=len(loaded))
    return Rows(source, loaded, identity, RowFiles(address, resolved=True))


def _archive(source: Source, data: DatasetSettings, suffixes: Sequence[str]) -> Rows:
    from datasets import Dataset, Features, IterableDataset, Value

    address = source.address
    features = Features({MEMBER: Value("string"), CONTENT: Value("large_binary")})
    form = IterableDataset if data.streaming else Dataset
    rows = form.from_generator(
        members,
        features=features,
        gen_kwargs={
            "path": str(address.resolve()),
            "suffixes": tuple(sorted(suffixes)),
            "stamp": stamp_of(address),
        },
    )
    count = None if data.streaming else len(rows)
    identity = Identity(address=str(address), files=_sizes([str(address)]), rows=count)
    return Rows(source, rows, identity, RowFiles())


def _built(source: Source, data: DatasetSettings, may_choose_split: bool) -> Rows:
    builder = _builder(source, data)
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
        address=str(source.address),
        subset=data.subset,
        split=f"{split}{bracket}{part}",
        commit=_commit([str(builder.base_path), *names]),
        files=_sizes(names),
        rows=count,
    )
    return Rows(source, rows, identity, _row_files(source, builder))


def _builder(source: Source, data: DatasetSettings) -> Any:
    """What reads a table, a folder, a tar or a dataset of the hub.

    Raises:
        ValueError: `datasets` would take the folder's name for a pattern.
    """
    from datasets import load_dataset_builder

    address = source.address
    if source.kind is Kind.HUB:
        return load_dataset_builder(str(address), data.subset, revision=data.revision)
    path = str(address.absolute())
    if source.kind is not Kind.DATASET:
        form = "webdataset" if source.kind is Kind.ARCHIVE else TABLES[address.suffix.lower()]
        return load_dataset_builder(form, data_files={_DEFAULT_SPLIT: [glob.escape(path)]})
    followed = str(address.resolve())
    if glob.escape(followed) != followed:
        raise ValueError(f"{followed} holds one of * ? [, which `datasets` takes for a pattern: rename it")
    builder = load_dataset_builder(path, data.subset)
    # Its labels, the names of folders, are wrong in an archive, and of no use here.
    return load_dataset_builder(path, data.subset, drop_labels=True) if _is_of_files(builder) else builder


def _row_files(source: Source, builder: Any) -> RowFiles:
    """The files of paths in rows; `datasets` itself makes those of a dataset of image files."""
    folders = {Kind.TABLE: source.address.parent, Kind.DATASET: source.address}
    return RowFiles(folders.get(source.kind), resolved=source.kind is Kind.HUB or _is_of_files(builder))


def _is_of_files(builder: Any) -> bool:
    """Whether a dataset's rows are files, such as images."""
    from datasets.packaged_modules.folder_based_builder.folder_based_builder import FolderBasedBuilder

    return isinstance(builder, FolderBasedBuilder)


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


def _commit(addresses: Sequence[str]) -> str | None:
    """The commit of the hub in the addresses of data files."""
    found = (_COMMIT.search(address) for address in addresses if address.startswith("hf://"))
    return next((match[1] for match in found if match is not None), None)
