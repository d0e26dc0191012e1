"""The image in a row of a dataset."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireasoner.trainer.errors import UnreadableImageError
from ireasoner.trainer.images.read_image import decode_image


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
    def of(cls, row: int, value: Any, folder: Path | None) -> "DatasetImage":
        """The image of row `row`, decoded once to find out whether it can be.

        Args:
            row: Its index, from 0.
            value: What its column holds: bytes, `{"bytes", "path"}`, or a list of one of these.
            folder: The folder that a path without bytes is relative to; None refuses such a path.

        Raises:
            UnreadableImageError: It holds no image, or more than one.
        """
        name = row_name(row)
        content = content_of(value, name, folder)
        picture = decode_image(content, name)
        return cls(name, content, *picture.size)


def row_name(row: int) -> str:
    """The name of a row's image."""
    return f"row {row}"


def content_of(value: Any, name: str, folder: Path | None) -> bytes:
    """The encoded image that a row's column holds; see `DatasetImage.of`."""
    if isinstance(value, list):
        if len(value) != 1:
            raise UnreadableImageError(name, f"it holds {len(value)} images, not one")
        [value] = value
    if isinstance(value, Mapping):
        held, path = value.get("bytes"), value.get("path")
        value = _file(path, name, folder) if held is None and isinstance(path, str) else held
    if not isinstance(value, bytes) or not value:
        raise UnreadableImageError(name, "it holds no image")
    return value


def _file(path: str, name: str, folder: Path | None) -> bytes:
    if folder is None:
        raise UnreadableImageError(name, f"it holds a path ({path}) and no image")
    try:
        return (folder / path).read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableImageError(name, f"{path}: {getattr(error, 'strerror', None) or error}") from error
