"""The files of an archive as rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMBER, CONTENT = "name", "content"
"""Columns of an archive's rows: a file's name in the archive, and its bytes."""
MOST_BYTES = 2**30
"""Encoded bytes of an image: twice those of the largest one that Pillow decodes, in RGB and uncompressed."""


def members(path: str, suffixes: tuple[str, ...], stamp: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """The regular files of a tar or zip with one of the suffixes, in its order; hidden ones are left out.

    Of a file of more than `MOST_BYTES`, one byte more than these is read: an archive can be small and its files huge.

    Args:
        path: The archive.
        suffixes: Suffixes in lower case, with their dots.
        stamp: The archive's size and time of change, which `datasets` makes a part of the rows' fingerprint.
    """
    from datasets import StreamingDownloadManager

    for name, file in StreamingDownloadManager().iter_archive(path):
        if Path(name).suffix.lower() in suffixes:
            yield {MEMBER: name, CONTENT: file.read(MOST_BYTES + 1)}
