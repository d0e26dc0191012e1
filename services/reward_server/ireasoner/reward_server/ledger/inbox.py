"""The inbox: what a server hands over to the ledger, in files that only grow.

The server appends frames to a segment and the writer process inserts them into SQLite, so a frame survives the end of
either. Segments are named `FEED-NUMBER`, and both grow with time. The writer removes a segment once all of it is
committed; the last one of a running server stays open. A frame is a head, a JSON header, and two payloads. The head is
a mark and five little-endian 32-bit numbers: the lengths of the three parts, and checksums of these parts and of the
head itself. A segment may end in the middle of a frame if its server was killed.

Where a disk has damaged a frame, reading goes on with the next head, and what is between is a `Gap`. Bytes
that a caller has sent cannot pass for a head: its checksum begins with the feed, whose name no caller learns. Up to
where gaps were left out is kept beside the segment, so that the next writer does not report them again.
"""

import os
import re
import secrets
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

FOLDER = "inbox"
MAX_BYTES = 256 * 2**20
"""Of all segments; at least 8 s of all that one server can score."""
_HEAD = struct.Struct("<4s5I")
_MARK = b"iRL2"
_SCANNED_BYTES = 2**20
"""Bytes that are searched for a head at once."""
_SUFFIX = ".frames"
_LEFT_OUT = ".left-out"
_NAME = re.compile(rf"\d{{20}}-[0-9a-f]{{8}}-\d{{8}}{re.escape(_SUFFIX)}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a segment; `end` is the offset that follows it."""

    header: dict[str, Any]
    first: bytes
    second: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a segment, from `start` to `end`, that a disk has damaged."""

    start: int
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
            head = _head(self._feed, header, first, second)
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


def number_of(segment: Path) -> int:
    """The number of a segment in its feed, from 1."""
    return int(segment.name.removesuffix(_SUFFIX).rpartition("-")[2])


def left_out(segment: Path) -> int:
    """The offset up to which gaps of a segment were left out; 0 if none was."""
    try:
        return int(segment.with_suffix(_LEFT_OUT).read_text())
    except (FileNotFoundError, ValueError):  # ValueError: the machine stopped while it was written
        return 0


def leave_out(segment: Path, gap: Gap) -> int:
    """Notes that a gap is left out; returns how many of its bytes were not yet."""
    new_bytes = gap.end - max(gap.start, left_out(segment))
    if new_bytes <= 0:
        return 0
    segment.with_suffix(_LEFT_OUT).write_text(str(gap.end))
    return new_bytes


def remove(segment: Path) -> None:
    """Removes a segment, which another writer may have done."""
    segment.unlink(missing_ok=True)
    segment.with_suffix(_LEFT_OUT).unlink(missing_ok=True)


def remove_orphans(folder: Path) -> None:
    """Removes the notes beside segments that are gone, which a writer left that was killed in `remove`."""
    for note in (folder / FOLDER).glob(f"*{_LEFT_OUT}"):
        segment = note.with_suffix(_SUFFIX)
        if _NAME.fullmatch(segment.name) and not segment.exists():
            note.unlink(missing_ok=True)


def read(segment: Path, offset: int) -> Iterator[Frame | Gap]:
    """The whole frames of a segment from an offset on, and the gaps between them."""
    feed = feed_of(segment)
    with segment.open("rb") as stream:
        end = os.fstat(stream.fileno()).st_size
        while offset + _HEAD.size <= end:
            stream.seek(offset)
            lengths = _lengths(feed, head := stream.read(_HEAD.size))
            if lengths is None:
                found: Frame | Gap = Gap(offset, _next_head(stream, feed, offset + 1, end))
            elif offset + _HEAD.size + sum(lengths) > end:
                return
            else:
                found = _frame(stream, offset, head, lengths)
            yield found
            offset = found.end


def _head(feed: str, *parts: bytes) -> bytes:
    """The head of a frame, given its header and its two payloads."""
    unchecked = _HEAD.pack(_MARK, *map(len, parts), _checksum(parts), 0)
    return unchecked[:-4] + _check(feed, unchecked)


def _checksum(parts: Sequence[bytes]) -> int:
    """Of all parts, one behind the other."""
    found = 0
    for part in parts:
        found = zlib.crc32(part, found)
    return found


def _check(feed: str, head: bytes) -> bytes:
    return zlib.crc32(feed.encode() + head[:-4]).to_bytes(4, "little")


def _lengths(feed: str, head: bytes) -> tuple[int, int, int] | None:
    """The lengths of header and payloads; None if these bytes are no head of the feed."""
    if not head.startswith(_MARK) or len(head) < _HEAD.size or head[-4:] != _check(feed, head):
        return None
    _, header, first, second, _, _ = _HEAD.unpack(head)
    return header, first, second


def _frame(stream: BinaryIO, offset: int, head: bytes, lengths: tuple[int, int, int]) -> Frame | Gap:
    """The frame at an offset, whose head was just read; a gap if a part of it is damaged."""
    end = offset + _HEAD.size + sum(lengths)
    header, first, second = parts = [stream.read(length) for length in lengths]
    if _checksum(parts) != _HEAD.unpack(head)[4]:
        return Gap(offset, end)
    return Frame(orjson.loads(header), first, second, end)


def _next_head(stream: BinaryIO, feed: str, offset: int, end: int) -> int:
    """Where the next head is; where one may be that is not whole yet, if there is none."""
    while offset + _HEAD.size <= end:
        stream.seek(offset)
        scanned = stream.read(min(_SCANNED_BYTES, end - offset))
        at = scanned.find(_MARK)
        while at >= 0 and at + _HEAD.size <= len(scanned):
            if _lengths(feed, scanned[at : at + _HEAD.size]) is not None:
                return offset + at
            at = scanned.find(_MARK, at + 1)
        offset += len(scanned) - _HEAD.size + 1
    return offset
