"""The image in a row of a dataset."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireasoner.trainer.data import RowFiles, Rows
from ireasoner.trainer.data.archive import MOST_BYTES
from ireasoner.trainer.data.row_files import open_address
from ireasoner.trainer.errors import ImagesError, UnreadableImageError
from ireasoner.trainer.images.read_image import decode_image, read_encoded


@dataclass(frozen=True, slots=True)
class DatasetImage:
    """An undecoded image of a row.

    Attributes:
        name: Its row, and its name where the dataset gives one, for messages.
        content: Its encoded bytes.
        width: Its width in pixels.
        height: Its height in pixels.
    """

    name: str
    content: bytes
    width: int
    height: int

    @property
    def digest(self) -> str:
        """Start of the SHA-256 of the bytes, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    @classmethod
    def of(cls, name: str, content: bytes) -> "DatasetImage":
        """The image of a row, decoded once to find out whether it can be.

        Raises:
            UnreadableImageError: It cannot.
        """
        picture = decode_image(content, name)
        return cls(name, content, *picture.size)


def row_name(row: int) -> str:
    """The name of a row's image."""
    return f"row {row}"


def content_at(rows: Rows, column: str, row: int) -> bytes:
    """The encoded image of a row that is not streamed.

    Raises:
        UnreadableImageError: It holds none, or cannot be read.
    """
    name = str(Path(rows.identity.address) / row_name(row))
    try:
        value = rows.value(column, row)
    except ImagesError as error:
        raise UnreadableImageError(name, str(error)) from error
    return content_of(value, name, rows.files)


def content_of(value: Any, name: str, files: RowFiles) -> bytes:
    """The encoded image that a row's column holds.

    Args:
        value: What the column holds: bytes, `{"bytes", "path"}`, or a list of one of these.
        name: The row, for messages.
        files: The files that paths without bytes name.

    Raises:
        UnreadableImageError: It holds no image, or more than one.
    """
    if isinstance(value, list):
        if len(value) != 1:
            raise UnreadableImageError(name, f"it holds {len(value)} images, not one")
        [value] = value
    if isinstance(value, Mapping):
        held, path = value.get("bytes"), value.get("path")
        value = _file(path, name, files) if held is None and isinstance(path, str) else held
    if not isinstance(value, bytes) or not value:
        raise UnreadableImageError(name, "it holds no image")
    return value


def _file(path: str, name: str, files: RowFiles) -> bytes:
    located = files.located(path)
    if located is None:
        raise UnreadableImageError(name, f"it holds a path ({path}) and no image")
    try:
        if isinstance(located, Path):
            return read_encoded(located)
        with open_address(located) as file:
            return file.read(MOST_BYTES + 1)  # more are refused before they are decoded
    except Exception as error:  # what archives and the network raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImageError(name, f"{path}: {reason}") from error
