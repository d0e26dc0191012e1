"""The inbox: what a server hands over to the ledger, in files that only grow.

The server appends frames to a segment and the writer process inserts them into SQLite, so a frame survives the end of
either. Segments are named `FEED-NUMBER`, and both grow with time. The writer removes a segment once all of it is
committed; the last one of a running server stays open. A frame is a head (a mark and three little-endian 32-bit
lengths), a JSON header, and two payloads. A segment may end in the middle of a frame if its server was killed; whatever
follows a frame that is not whole is not read.
"""

import os
import re
import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

FOLDER = "inbox"
MAX_BYTES = 256 * 2**20
"""Of all segments; at least 8 s of all that one server can score."""
_HEAD = struct.Struct("<4sIII")
_MARK = b"iRL1"
_SUFFIX = ".frames"
_NAME = re.compile(rf"\d{{20}}-[0-9a-f]{{8}}-\d{{8}}{re.escape(_SUFFIX)}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a segment; `end` is the offset that follows it."""

    header: dict[str, Any]
    first: bytes
    second: bytes
    end: int


def max_bytes(ledger_bytes: int) -> int:
    """The part of a ledger's size that its inbox may take."""
    return min(MAX_BYTES, ledger_bytes // 4)


def new_feed(folder: Path) -> str:
    """The name of a feed that sorts behind those of all segments, even if the clock was set back."""
    last = max((int(feed_of(segment).partition("-")[0]) for segment in segments(folder)), default=0)
    return f"{max(time.time_ns(), last + 1):020d}-{secrets.token_hex(4)}"


class Appender:
    """Appends the frames of one feed; a segment of `segment_bytes` or more is followed by another one."""

    def __init__(self, folder: Path, feed: str, segment_bytes: int) -> None:
        self._folder = folder / FOLDER
        self._feed = feed
        self._segment_bytes = segment_bytes
        self._number = 0
        self._segment: BinaryIO | None = None

    def append(self, header: bytes, first: bytes, second: bytes) -> int:
        """Appends a frame; returns its size in bytes.

        Raises OSError if it could not be written; the segment then ends with the frame before.
        """
        size = _HEAD.size + len(header) + len(first) + len(second)
        segment = self._open()
        before = segment.tell()
        try:
            head = _HEAD.pack(_MARK, len(header), len(first), len(second))
            for part in (head + header, first, second):
                _write_all(segment, part)
        except OSError:
            self._shorten(segment, before)
            raise
        if before + size >= self._segment_bytes:
            self.close()
        return size

    def close(self) -> None:
        """Closes the current segment; the next frame begins another one."""
        if self._segment is not None:
            segment, self._segment = self._segment, None
            segment.close()

    def _open(self) -> BinaryIO:
        if self._segment is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._number += 1
            file = self._folder / f"{self._feed}-{self._number:08d}{_SUFFIX}"
            self._segment = file.open("xb", buffering=0)
        return self._segment

    def _shorten(self, segment: BinaryIO, size: int) -> None:
        try:
            segment.truncate(size)
            segment.seek(size)
        except OSError:
            self.close()  # readers skip what follows the last whole frame


def _write_all(segment: BinaryIO, part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[segment.write(view) :]


def segments(folder: Path) -> list[Path]:
    """The segments of a ledger's inbox, oldest first."""
    return sorted(each for each in (folder / FOLDER).glob(f"*{_SUFFIX}") if _NAME.fullmatch(each.name))


def feed_of(segment: Path) -> str:
    """The feed of a segment."""
    return segment.name.removesuffix(_SUFFIX).rpartition("-")[0]


def size_bytes(folder: Path) -> int:
    """The bytes of all segments."""
    total = 0
    for segment in segments(folder):
        with suppress(FileNotFoundError):  # the writer has just removed it
            total += segment.stat().st_size
    return total


def frames(segment: Path, offset: int) -> Iterator[Frame]:
    """The whole frames of a segment from an offset on."""
    with segment.open("rb") as stream:
        stream.seek(offset)
        end = os.fstat(stream.fileno()).st_size
        while offset + _HEAD.size <= end:
            mark, *lengths = _HEAD.unpack(stream.read(_HEAD.size))
            offset += _HEAD.size + sum(lengths)
            if mark != _MARK or offset > end:
                return
            header, first, second = (stream.read(length) for length in lengths)
            yield Frame(orjson.loads(header), first, second, offset)
