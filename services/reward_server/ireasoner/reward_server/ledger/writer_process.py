"""The process that alone writes into a ledger: it takes what the inbox holds and commits it.

It reads a byte from standard input whenever there is something new, and reports each commit, and each problem, as a
line of JSON on standard output. It is not stopped with its server: when its input ends it commits the rest and exits,
so that nothing is lost when a server is killed. It runs at a low priority, because scoring comes first.
"""

import json
import math
import os
import select
import signal
import sqlite3
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ireasoner.reward_server.ledger import eviction, inbox
from ireasoner.reward_server.ledger.faults import Fault, LogBusy, fault_of, is_of_the_ledger
from ireasoner.reward_server.ledger.images import digest, store
from ireasoner.reward_server.ledger.insert import forget_feeds, insert, insert_image, is_new
from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.ledger.schema import FILE, open_to_write, transaction

NICENESS = 19
"""The lowest priority: a server that keeps a core busy loses a seventieth of it at most."""
COMMIT_EVERY_S = 0.25
BATCH_BYTES = 8 * 2**20
"""Frames of one transaction, unless a single one is larger."""
RETRY_S = 1.0
"""Seconds between two tries while the ledger cannot be written."""
ENDING_DEADLINE_S = 20.0
"""Seconds that it tries after its server has gone; the inbox keeps what is left for the next start."""
MAX_LOG_BYTES = 64 * 2**20
"""Size from which the write-ahead log has to be emptied before anything else is written."""
CACHE_KIB = 32 * 1024
MAX_DETAIL_CHARACTERS = 300
"""So that a report has less than 4,096 bytes, as JSON with 12 bytes per character, and a pipe takes all or nothing."""


@dataclass(slots=True)
class Report:
    """What the server learns of the ledger.

    Attributes:
        kept: Number of the feed's last frame that is committed or given up.
        given_up: Groups of the feed that could not be inserted.
        damaged: Groups of the feed that were in damaged parts of the inbox.
        damaged_before: The same of former servers' feeds.
        damaged_bytes: Of all feeds; the groups in the last part of a feed are not known.
        bytes: Of the database, its log, the inbox and the images.
        fault: Why nothing can be written now; None if all is well.
        detail: The fault in words.
    """

    kept: int = 0
    given_up: int = 0
    damaged: int = 0
    damaged_before: int = 0
    damaged_bytes: int = 0
    bytes: int = 0
    fault: Fault | None = None
    detail: str | None = None


@dataclass(slots=True)
class Writer:
    """Moves frames from the inbox of `folder` into its ledger, whose size it bounds.

    Args:
        folder: The ledger.
        feed: The feed of a running server, whose last segment grows; empty if there is none.
        max_bytes: Of everything in the folder.
    """

    folder: Path
    feed: str
    max_bytes: int
    report: Report = field(default_factory=Report)
    _connection: sqlite3.Connection | None = None
    _was_open: bool = False
    _offsets: dict[str, int] = field(default_factory=dict)
    _groups: dict[str, int] = field(default_factory=dict)
    _image_bytes: int = 0
    _unnamed_at_s: float = 0.0
    _unmerged: int = 0
    _is_merging: bool = False

    def work(self, *, ended: bool = False) -> bool:
        """Commits what the inbox holds; returns whether the ledger could be written.

        With `ended` no segment grows any more, and all of them are removed.
        """
        try:
            connection = self._open()
            for segment in self._segments(ended):
                self._take(connection, *segment)
            self._bound(connection)
        except Exception as error:  # noqa: BLE001 - reported; what cannot be written now stays in the inbox
            self.report.fault = fault_of(error)
            self.report.detail = f"{type(error).__name__}: {error}"[:MAX_DETAIL_CHARACTERS]
            self.close()
            return False
        else:
            self.report.fault = self.report.detail = None
            return True
        finally:
            self.report.bytes = self._size()

    def close(self) -> None:
        """Closes the ledger, whose log SQLite then empties if nobody reads."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = open_to_write(self.folder)
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute(f"PRAGMA journal_size_limit = {self._max_log_bytes // 2}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {min(1_000, self._max_log_bytes // 16_384)}")
            if not self._was_open:
                eviction.remove_orphans(connection, self.folder)
                inbox.remove_orphans(self.folder)
                forget_feeds(connection)
                self._was_open = True
            self._image_bytes = eviction.image_bytes(connection)
            self.report.kept = _last(connection, self.feed)
            self._connection = connection
        return self._connection

    def _segments(self, ended: bool) -> list[tuple[Path, bool]]:
        """The segments up to those of the feed, oldest first, and whether each is complete.

        Later ones are those of a server that was started after this one's had been killed.
        """
        found = inbox.segments(self.folder)
        if self.feed:
            found = [each for each in found if inbox.feed_of(each) <= self.feed]
        grows = None if ended or not found or inbox.feed_of(found[-1]) != self.feed else found[-1]
        return [(each, each != grows) for each in found]

    def _take(self, connection: sqlite3.Connection, segment: Path, is_complete: bool) -> None:
        """Commits the frames of a segment, and removes it if no more can come."""
        feed = inbox.feed_of(segment)
        batch: list[inbox.Frame] = []
        size = 0
        if inbox.number_of(segment) == 1:
            self._groups.setdefault(feed, 0)
        with suppress(FileNotFoundError):  # the writer of a killed server has just removed it
            for part in inbox.read(segment, self._offsets.get(segment.name, 0)):
                if isinstance(part, inbox.Gap):
                    self._commit(connection, feed, segment, batch)
                    batch, size = [], 0
                    self.report.damaged_bytes += inbox.leave_out(segment, part)
                    self._offsets[segment.name] = part.end
                    continue
                batch.append(part)
                size += len(part.first) + len(part.second)
                if size >= self._batch_bytes:
                    self._commit(connection, feed, segment, batch)
                    batch, size = [], 0
            self._commit(connection, feed, segment, batch)
        if is_complete:
            inbox.remove(segment)
            self._offsets.pop(segment.name, None)

    def _commit(
        self, connection: sqlite3.Connection, feed: str, segment: Path, batch: list[inbox.Frame]
    ) -> None:
        if not batch:
            return
        self._check_log(connection)
        last = _last(connection, feed)
        given_up = 0
        with transaction(connection):
            for frame in batch:
                try:
                    self._insert(connection, feed, frame)
                except Exception as error:
                    if is_of_the_ledger(error):
                        raise
                    given_up += _give_up(connection, feed, frame)
        self._offsets[segment.name] = batch[-1].end
        damaged = sum(self._missing_before(feed, frame.header, last) for frame in batch)
        if feed == self.feed:
            self.report.given_up += given_up
            self.report.damaged += damaged
            self.report.kept = batch[-1].header["sequence"]
        else:
            self.report.damaged_before += damaged
        self._bound(connection)

    def _missing_before(self, feed: str, header: dict[str, Any], last: int) -> int:
        """The groups between a frame and the one before it that was read; none if it was kept by a writer before."""
        before = header["groups_before"]
        read = self._groups.get(feed, before)
        self._groups[feed] = max(read, before + header.get("groups", 0))
        return max(0, before - read) if header["sequence"] > last else 0

    def _insert(self, connection: sqlite3.Connection, feed: str, frame: inbox.Frame) -> None:
        """Inserts one frame, or nothing of it if that fails."""
        connection.execute("SAVEPOINT frame")
        try:
            if frame.header["kind"] == "image":
                self._insert_image(connection, feed, frame)
            else:
                insert(connection, Record.received(feed, frame.header, frame.first, frame.second))
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK TO frame")
            raise
        connection.execute("RELEASE frame")

    def _insert_image(self, connection: sqlite3.Connection, feed: str, frame: inbox.Frame) -> None:
        header = frame.header
        if is_new(connection, feed, header["sequence"]):
            if digest(frame.first) != header["sha256"]:
                raise ValueError(f"the bytes of image {header['sha256']} are damaged")
            store(self.folder, header["sha256"], frame.first)
            size_bytes, put_s = len(frame.first), header["received_s"]
            if insert_image(connection, header["sha256"], header["experiment"], size_bytes, put_s):
                self._image_bytes += size_bytes

    def _check_log(self, connection: sqlite3.Connection) -> None:
        """Raises LogBusy if somebody's long read keeps the write-ahead log from being emptied."""
        log = self.folder / f"{FILE}-wal"
        if log.exists() and log.stat().st_size > self._max_log_bytes:
            [(is_busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if is_busy:
                raise LogBusy(f"{log} cannot be emptied: another process reads the ledger")

    def _bound(self, connection: sqlite3.Connection) -> None:
        """Evicts until what is left of the ledger's size is enough for the log and the inbox."""
        taken = self._max_log_bytes + inbox.max_bytes(self.max_bytes) + self._batch_bytes
        room = self.max_bytes - taken
        while eviction.used_bytes(connection) + self._image_bytes > room and self._evict(connection):
            self._check_log(connection)
        while eviction.shrink(connection, room - self._image_bytes):
            self._check_log(connection)

    def _evict(self, connection: sqlite3.Connection) -> bool:
        """Removes some of what is oldest; returns whether there was anything to remove."""
        now_s = time.time()
        if now_s > self._unnamed_at_s + eviction.UNNAMED_S:
            self._unnamed_at_s = now_s
            if self._note(eviction.evict_unnamed(connection, self.folder, now_s - eviction.UNNAMED_S)):
                return True
        self._clean_index(connection)
        return (
            self._note(eviction.evict_oldest(connection, self.folder))
            or self._is_merging
            or self._note(eviction.evict_unnamed(connection, self.folder, now_s, most=1))
        )

    def _note(self, evicted: eviction.Evicted) -> bool:
        """Counts what was removed; returns whether there was anything."""
        self._image_bytes -= evicted.image_bytes
        self._unmerged += evicted.groups
        return bool(evicted)

    def _clean_index(self, connection: sqlite3.Connection) -> None:
        """Merges the full-text index, step by step, once a quarter of what it holds is gone."""
        if self._is_merging:
            self._is_merging = eviction.merge_index(connection, from_start=False)
        elif 4 * self._unmerged > eviction.groups_held(connection):
            self._unmerged = 0
            self._is_merging = eviction.merge_index(connection, from_start=True)

    @property
    def _max_log_bytes(self) -> int:
        return min(MAX_LOG_BYTES, self.max_bytes // 8)

    @property
    def _batch_bytes(self) -> int:
        return min(BATCH_BYTES, self.max_bytes // 16)

    def _size(self) -> int:
        total = self._image_bytes + inbox.size_bytes(self.folder)
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                total += (self.folder / f"{FILE}{suffix}").stat().st_size
        return total


def _last(connection: sqlite3.Connection, feed: str) -> int:
    """The number of a feed's last frame that was kept; 0 if none was."""
    found = connection.execute("SELECT last FROM feeds WHERE id = ?", (feed,)).fetchone()
    return 0 if found is None else int(found[0])


def _give_up(connection: sqlite3.Connection, feed: str, frame: inbox.Frame) -> int:
    """Marks a frame as done that cannot be inserted and must not hold up others; returns how many groups it had."""
    traceback.print_exc()
    is_new(connection, feed, frame.header["sequence"])
    return int(frame.header.get("groups", 0))


def drain(folder: Path, max_bytes: int) -> Report:
    """Commits what a former server has left in an inbox; the caller holds the lock."""
    writer = Writer(folder, "", max_bytes)
    writer.work(ended=True)
    writer.close()
    return writer.report


def main() -> int:
    """Runs the writer; the arguments are the folder, the feed and the size."""
    folder, feed, max_bytes = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    writer = Writer(Path(folder), feed, int(max_bytes))
    end_s = math.inf
    while True:
        has_ended = end_s < math.inf
        is_well = writer.work(ended=has_ended)
        _say(writer.report)
        if has_ended and (is_well or time.monotonic() > end_s):
            break
        if not has_ended and _input_ended(None if is_well else RETRY_S):
            end_s = time.monotonic() + ENDING_DEADLINE_S
        elif is_well:
            time.sleep(COMMIT_EVERY_S)  # more may come, for the same commit
        elif has_ended:
            time.sleep(RETRY_S)
    writer.close()
    return 0


def _input_ended(wait_s: float | None) -> bool:
    """Waits for news on standard input, at most so long; returns whether the server has gone."""
    ready, _, _ = select.select([0], [], [], wait_s)
    return bool(ready) and os.read(0, 65_536) == b""


def _say(report: Report) -> None:
    with suppress(BrokenPipeError):  # the server has gone
        os.write(1, json.dumps(asdict(report)).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
