"""The server's side of the ledger: takes what was scored, never waits, and counts what it drops.

A thread appends what is queued to the inbox; another one keeps the writer process running and reads its reports. The
request that was scored only puts bytes into the queue.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Literal, NamedTuple

import orjson

from ireasoner.reward_server.ledger import inbox
from ireasoner.reward_server.ledger.faults import Fault, fault_of
from ireasoner.reward_server.ledger.file_system import check_local
from ireasoner.reward_server.ledger.lock import Lock
from ireasoner.reward_server.ledger.schema import LedgerUnusable, OtherVersion, open_to_write
from ireasoner.reward_server.ledger.writer_process import Report

log = logging.getLogger(__name__)

MODULE = "ireasoner.reward_server.ledger.writer_process"
MAX_QUEUE_BYTES = 64 * 2**20
"""Of bodies and responses in memory that wait to be appended to the inbox; one alone may be larger."""
STOP_DEADLINE_S = 10.0
EPISODE_S = 10.0
"""Seconds without a dropped group after which an episode of dropped groups is over."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
"""Between the end of a writer process and the start of the next."""

Reason = Fault | Literal["queue_full", "damaged"]
REASONS: tuple[Reason, ...] = ("queue_full", "disk_full", "locked", "corrupt", "damaged", "write_failed")


@dataclass(frozen=True, slots=True)
class Scored:
    """What was scored, besides the request and its response."""

    experiment: str
    endpoint: str
    progress: float
    config_label: str
    config: str
    embedder: str
    groups: int


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a ledger that is being recorded.

    Attributes:
        folder: Of the ledger.
        max_bytes: It may take.
        bytes: It takes.
        queued_bytes: Of what waits, in memory and in the inbox.
        groups: Recorded since the start.
        dropped: Groups that were not recorded since the start, by reason.
        dropped_images: Images that were taken since the start, and not recorded.
        problem: Why nothing is recorded now, in words; None if all is well.
    """

    folder: Path
    max_bytes: int
    bytes: int
    queued_bytes: int
    groups: int
    dropped: Mapping[str, int]
    dropped_images: int
    problem: str | None


@dataclass(slots=True)
class _Item:
    header: dict[str, Any]
    first: bytes
    second: bytes

    @property
    def size(self) -> int:
        return len(self.first) + len(self.second)

    @property
    def is_image(self) -> bool:
        return bool(self.header["kind"] == "image")

    @property
    def groups(self) -> int:
        return int(self.header.get("groups", 0))


class _Waiting(NamedTuple):
    """A frame in the inbox that is not committed yet."""

    sequence: int
    size: int
    groups: int


class Recorder:
    """Records into the ledger of a folder, which it locks until it is stopped.

    Raises:
        LedgerUnusable: The folder cannot be written, is in use, is on a network file system, or holds a ledger of
            another version. A ledger that is damaged is no reason: scoring goes on without it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        check_local(folder)
        self._lock = Lock(folder)
        self.folder = folder
        self.max_bytes = max_bytes
        _create(folder)
        most = inbox.max_bytes(max_bytes)
        self._feed = inbox.new_feed(folder)
        self._appender = inbox.Appender(folder, self._feed, most // 4)
        self._max_waiting_bytes = most - most // 4
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._counting = threading.Lock()
        self._queue_bytes = 0
        self._inherited_bytes = inbox.size_bytes(folder)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._sequence = self._groups = self._recorded = 0
        self._dropped: Counter[Reason] = Counter()
        self._dropped_images = 0
        self._episode: Counter[Reason] = Counter()
        self._dropped_at_s = 0.0
        self._report = Report()
        self._waking = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._append_all, name="ledger inbox", daemon=True),
            threading.Thread(target=self._keep_writer, name="ledger writer", daemon=True),
        ]

    def start(self) -> None:
        """Starts to record."""
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Appends what is queued, and lets the writer commit it; what takes longer, it commits after the server."""
        await asyncio.to_thread(self._stop)

    def record(self, scored: Scored, sent: bytes, answered: bytes) -> None:
        """Takes a request and the full response to it; returns at once."""
        header = {
            "kind": "scores",
            "received_s": time.time(),
            "experiment": scored.experiment,
            "endpoint": scored.endpoint,
            "progress": scored.progress,
            "config_label": scored.config_label,
            "config": scored.config,
            "embedder": scored.embedder,
            "groups": scored.groups,
        }
        self._offer(_Item(header, sent, answered))

    def put_image(self, experiment: str, sha256: str, data: bytes) -> bool:
        """Takes an image; returns at once, and whether it was taken: not if too much waits to be written."""
        with self._counting:
            waiting_bytes = self._queue_bytes + self._inherited_bytes + self._waiting_bytes
        if waiting_bytes + len(data) > self._max_waiting_bytes:
            return False
        header = {"kind": "image", "received_s": time.time(), "experiment": experiment, "sha256": sha256}
        return self._offer(_Item(header, data, b""))

    @property
    def status(self) -> Status:
        """The state now."""
        with self._counting:
            return Status(
                folder=self.folder,
                max_bytes=self.max_bytes,
                bytes=self._report.bytes,
                queued_bytes=self._queue_bytes + self._inherited_bytes + self._waiting_bytes,
                groups=self._recorded,
                dropped={reason: self._dropped[reason] for reason in REASONS},
                dropped_images=self._dropped_images,
                problem=self._report.detail,
            )

    def _offer(self, item: _Item) -> bool:
        with self._counting:
            fits = self._queue_bytes == 0 or self._queue_bytes + item.size <= MAX_QUEUE_BYTES
            if fits:
                self._queue_bytes += item.size
        if not fits:
            if not item.is_image:  # whoever puts an image is told
                self._drop(item.groups, "queue_full", f"{self._queue_bytes} bytes wait to be written")
            return False
        self._queue.put(item)
        return True

    def _lose(self, item: _Item, reason: Reason, detail: str) -> None:
        """Counts something that was taken and is not recorded."""
        if not item.is_image:
            self._drop(item.groups, reason, detail)
            return
        with self._counting:
            self._dropped_images += 1
        log.warning("the ledger drops an image: %s: %s", reason, detail)

    def _drop(self, groups: int, reason: Reason, detail: str) -> None:
        """Counts groups that are not recorded, and logs the first of an episode."""
        with self._counting:
            is_first = not self._episode
            self._dropped[reason] += groups
            self._episode[reason] += groups
            self._dropped_at_s = time.monotonic()
        if is_first:
            log.warning("the ledger drops groups: %s: %s", reason, detail)

    def _end_episode(self) -> None:
        """Logs how much was dropped, once nothing was for a while."""
        with self._counting:
            episode, self._episode = self._episode, Counter()
        counts = ", ".join(f"{count} ({reason})" for reason, count in episode.items())
        log.warning("the ledger records again; groups that are not in it: %s", counts)

    def _append_all(self) -> None:
        """The thread that appends what is queued."""
        while (item := self._queue.get()) is not None:
            try:
                self._append(item)
            except Exception as error:  # a bug must not end the thread
                log.exception("a request could not be appended to the ledger's inbox")
                self._lose(item, "write_failed", f"{type(error).__name__}: {error}")
            with self._counting:
                self._queue_bytes -= item.size
        self._appender.close()

    def _append(self, item: _Item) -> None:
        fault, detail = self._report.fault, self._report.detail or ""
        waiting_bytes = self._inherited_bytes + self._waiting_bytes
        if fault == "corrupt":
            self._lose(item, fault, detail)
            return
        if waiting_bytes + item.size > self._max_waiting_bytes:
            detail = detail or f"{waiting_bytes} bytes wait in the inbox"
            self._lose(item, fault or "queue_full", detail)
            return
        header = orjson.dumps({**item.header, "sequence": self._sequence + 1, "groups_before": self._groups})
        try:
            size = self._appender.append(header, item.first, item.second)
        except OSError as error:
            self._lose(item, fault_of(error), str(error))
            return
        self._sequence += 1
        self._groups += item.groups
        with self._counting:
            self._waiting.append(_Waiting(self._sequence, size, item.groups))
            self._waiting_bytes += size
        self._wake()
        if self._episode and time.monotonic() > self._dropped_at_s + EPISODE_S:
            self._end_episode()

    def _wake(self) -> None:
        """Tells the writer that there is something new."""
        with self._waking, suppress(OSError):  # it has ended, or has enough to do
            if self._process is not None and self._process.stdin is not None:
                os.write(self._process.stdin.fileno(), b"\n")

    def _let_end(self) -> None:
        """Ends the input of the writer."""
        with self._waking:
            process, self._process = self._process, None
            if process is not None and process.stdin is not None:
                process.stdin.close()

    def _keep_writer(self) -> None:
        """The thread that keeps a writer running and reads its reports."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            started_s = time.monotonic()
            try:
                how = self._run_writer()
            except OSError as error:
                how = f"could not be started: {error}"
            except Exception as error:  # a bug must not end the thread
                log.exception("the reports of the ledger's writer could not be read")
                how = f"was ended: {type(error).__name__}: {error}"
            if self._stopping.is_set():
                return
            with self._counting:
                self._report = replace(self._report, fault="write_failed", detail=f"the writer {how}")
            log.error("the ledger's writer %s; another one starts in %.1f s", how, pause_s)
            self._stopping.wait(pause_s)
            is_new = time.monotonic() - started_s < LONGEST_PAUSE_S
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S) if is_new else FIRST_PAUSE_S

    def _run_writer(self) -> str:
        """Runs a writer until it ends; returns how it ended."""
        command = (sys.executable, "-P", "-m", MODULE, str(self.folder), self._feed, str(self.max_bytes))
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdin.fileno(), False)
        with self._waking:
            self._process = process
        if self._stopping.is_set():
            self._let_end()
        try:
            with process.stdout as reports:
                before = Report()
                for line in iter(reports.readline, b""):
                    report = Report(**json.loads(line))
                    self._read(report, before)
                    before = report
        except BaseException:
            process.kill()  # nothing is lost: what is not committed stays in the inbox
            raise
        finally:
            self._let_end()
            status = process.wait()
        if status == 0 and before.fault is None:
            self._count_missing()
        return f"ended with {status}"

    def _read(self, report: Report, before: Report) -> None:
        """Takes a report of a writer, and counts what came since its report before."""
        if report.fault is not None and self._report.fault is None:
            log.warning("the ledger cannot be written: %s: %s", report.fault, report.detail)
        elif report.fault is None and self._report.fault is not None:
            log.warning("the ledger can be written again")
        given_up, damaged = report.given_up - before.given_up, report.damaged - before.damaged
        with self._counting:
            self._report = report
            if report.fault is None:
                self._inherited_bytes = 0
            while self._waiting and self._waiting[0].sequence <= report.kept:
                kept = self._waiting.popleft()
                self._waiting_bytes -= kept.size
                self._recorded += kept.groups
            self._recorded -= given_up + damaged
        if (damaged_bytes := report.damaged_bytes - before.damaged_bytes) > 0:
            log.warning(
                "the disk has damaged %d bytes of the ledger's inbox; they are left out", damaged_bytes
            )
        if (damaged := damaged + report.damaged_before - before.damaged_before) > 0:
            self._drop(damaged, "damaged", "they were in a damaged part of the inbox")
        if given_up:
            self._drop(given_up, "write_failed", "they could not be inserted; the traceback is above")

    def _lose_queue(self) -> None:
        """Counts what is queued as lost; the thread that appends ends after the frame that it is writing."""
        with suppress(Empty):
            while True:
                item = self._queue.get_nowait()
                if item is not None:
                    self._lose(
                        item, "queue_full", "the disk is too slow for what is queued when the server ends"
                    )
                    with self._counting:
                        self._queue_bytes -= item.size
        self._queue.put(None)

    def _count_missing(self) -> None:
        """Counts what a writer that has read the whole inbox did not find: the disk has damaged its end."""
        if any(inbox.feed_of(segment) == self._feed for segment in inbox.segments(self.folder)):
            return
        with self._counting:
            groups = sum(each.groups for each in self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
        if groups:
            self._drop(groups, "damaged", "they were in a damaged part of the inbox")

    def _stop(self) -> None:
        end_s = time.monotonic() + STOP_DEADLINE_S
        self._queue.put(None)
        _join(self._threads[0], end_s)
        if self._threads[0].is_alive():
            self._lose_queue()
        self._stopping.set()
        self._let_end()
        _join(self._threads[1], end_s)
        if self._waiting_bytes:
            log.warning("%d bytes are not in the ledger yet: its writer goes on", self._waiting_bytes)
        if self._episode:
            self._end_episode()
        self._lock.release()


def _join(thread: threading.Thread, end_s: float) -> None:
    """Waits for a thread, if it was started."""
    if thread.ident is not None:
        thread.join(max(0.0, end_s - time.monotonic()))


def _create(folder: Path) -> None:
    """Creates the ledger, so that it can be read from now on; raises OtherVersion. A damaged one is only logged."""
    try:
        open_to_write(folder).close()
    except OtherVersion:
        raise
    except LedgerUnusable as error:
        log.error("the ledger cannot be opened: %s", error)  # noqa: TRY400
