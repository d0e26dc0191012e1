"""The files of an archive as rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMBER, CONTENT = "name", "content"
"""Columns of an archive's rows: a file's name in the archive, and its bytes."""


def members(path: str, suffixes: tuple[str, ...], stamp: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """The regular files of a tar or zip with one of the suffixes, in its order; hidden ones are left out.

    Args:
        path: The archive.
        suffixes: Suffixes in lower case, with their dots.
        stamp: The archive's size and time of change, which `datasets` makes a part of the rows' fingerprint.
    """
    from datasets import StreamingDownloadManager

    for name, file in StreamingDownloadManager().iter_archive(path):
        if Path(name).suffix.lower() in suffixes:
            yield {MEMBER: name, CONTENT: file.read()}


def stamp_of(path: Path) -> tuple[int, int]:
    """An archive's size in bytes and time of change in nanoseconds."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
