"""What an address of data is: a folder, a dataset, a table, an archive, or a name on the hub."""

import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from ireasoner.trainer.errors import ImagesError, SettingsError
from ireasoner.trainer.settings import DatasetSettings
from ireasoner.trainer.shown_path import shown

TABLES = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".arrow": "arrow",
}
"""`datasets`' builder for a file of rows, by its suffix."""
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_SAVED = (("dataset_dict.json",), ("state.json", "dataset_info.json"))
"""What `save_to_disk` leaves of a dict of datasets, and of a dataset."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Kind(StrEnum):
    """What an address is; the value names it in messages."""

    FOLDER = "a folder of image files"
    SAVED = "a dataset that was saved to a folder"
    DATASET = "a folder of data files"
    TABLE = "a file of rows"
    LINES = "a file of JSON lines"
    ARCHIVE = "an archive"
    HUB = "a dataset of the hub"


_USED: dict[Kind, frozenset[str]] = {
    Kind.FOLDER: frozenset(),
    Kind.SAVED: frozenset({"column", "split"}),
    Kind.DATASET: frozenset({"column", "split", "subset", "streaming", "shuffle_buffer"}),
    Kind.TABLE: frozenset({"column", "split", "streaming", "shuffle_buffer"}),
    Kind.LINES: frozenset(),
    Kind.ARCHIVE: frozenset({"streaming", "shuffle_buffer"}),
    Kind.HUB: frozenset({"column", "split", "subset", "revision", "streaming", "shuffle_buffer"}),
}
"""The settings that have a meaning for each kind."""


def kind_of(setting: str, address: Path) -> Kind:
    """What `address` is; a name of the form `owner/name` that is not here is one of the hub.

    Args:
        setting: The setting that holds the address, for messages.
        address: The address.

    Raises:
        ImagesError: It is nothing that can be read.
    """
    if address.is_dir():
        if any(all((address / name).is_file() for name in names) for names in _SAVED):
            return Kind.SAVED
        return Kind.FOLDER if next(data_files(address), None) is None else Kind.DATASET
    if not os.path.lexists(address):
        if _HUB_ID.fullmatch(str(address)):
            return Kind.HUB
        raise ImagesError(f"{setting}: there is no folder or file {shown(address)}")
    if not address.is_file():
        raise ImagesError(f"{setting}: {shown(address)} is not a regular file or a folder")
    if address.name.lower().endswith(ARCHIVES):
        return Kind.ARCHIVE
    if address.suffix.lower() in TABLES:
        return Kind.TABLE
    raise ImagesError(
        f"{setting}: {shown(address)} is a file of no known kind: give a folder, a table ({' '.join(TABLES)}) or an "
        f"archive ({' '.join(ARCHIVES)})"
    )


def data_files(folder: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders that hold rows.

    Hidden ones are left out, and so are folders that cannot be listed.
    """
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith((*TABLES, *ARCHIVES)) and not name.startswith("."):
                yield Path(parent, name)


def refuse_unused(setting: str, address: Path, kind: Kind, data: DatasetSettings) -> None:
    """Refuses settings of `data` that mean nothing for this kind of address, before anything is read.

    Raises:
        SettingsError: There is one; the message names it.
    """
    fields = type(data).model_fields
    given = {name for name, field in fields.items() if getattr(data, name) != field.default}
    unused = sorted(given - _USED[kind])
    if unused:
        raise SettingsError(
            f"data.{unused[0]}: {setting} is {kind} ({shown(address)}), which has no {unused[0]}"
        )
    if "shuffle_buffer" in given and not data.streaming:
        raise SettingsError("data.shuffle_buffer: without data.streaming all images are shuffled")
    if data.streaming and "[" in (data.split or ""):
        raise SettingsError(f"data.split: {data.split!r} is a part of a split, which cannot be streamed")
