"""The server's side of the ledger: nothing waits, everything is recorded or counted, and processes may be killed."""

import asyncio
import errno
import json
import logging
import os
import select
import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from ireasoner.reward_server.ledger import inbox, recorder, writer_process
from ireasoner.reward_server.ledger.file_system import check_local, file_system_of
from ireasoner.reward_server.ledger.lock import LedgerLocked, Lock
from ireasoner.reward_server.ledger.recorder import Recorder
from ireasoner.reward_server.ledger.schema import FILE, LedgerUnusable, OtherVersion, open_to_write
from tests.reward_server.ledger_records import context, exchange, names, sent, wait_until

GIB = 2**30


@contextmanager
def recording(folder: Path, max_bytes: int = GIB) -> Iterator[Recorder]:
    made = Recorder(folder, max_bytes)
    made.start()
    try:
        yield made
    finally:
        asyncio.run(made.stop())


def record(into: Recorder, *group_names: str, characters: int = 10) -> None:
    groups = [sent(["7" * characters], name) for name in group_names]
    into.record(context(len(groups)), *exchange(*groups))


def writers(folder: Path) -> list[psutil.Process]:
    """The writer processes of a ledger, of any server."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if (
            recorder.MODULE in words
            and str(folder) in words
            and process.info["status"] != psutil.STATUS_ZOMBIE
        ):
            found.append(process)
    return found


def next_writer(folder: Path, killed_pids: Collection[int] = ()) -> psutil.Process:
    """Waits for the ledger's writer; one that was killed may take a moment to die, and isn't it."""
    found: list[psutil.Process] = []

    def started() -> bool:
        found[:] = [process for process in writers(folder) if process.pid not in killed_pids]
        return bool(found)

    wait_until(started)
    [writing] = found
    return writing


def accounted(into: Recorder) -> int:
    status = into.status
    return status.groups + sum(status.dropped.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def test_what_is_recorded_is_there_when_the_recorder_has_stopped(folder: Path) -> None:
    with recording(folder) as into:
        for number in range(20):
            record(into, f"{number}")
    assert names(folder) == [str(number) for number in range(20)]
    assert inbox.segments(folder) == []
    assert (into.status.groups, into.status.queued_bytes, into.status.problem) == (20, 0, None)
    assert into.status.bytes > 0


def test_a_killed_writer_is_replaced_and_nothing_is_lost_or_doubled(folder: Path) -> None:
    killed_pids: list[int] = []
    with recording(folder) as into:
        for number in range(30):
            record(into, f"{number}")
            if number in (10, 20):
                writing = next_writer(folder, killed_pids)
                writing.kill()
                killed_pids.append(writing.pid)
        wait_until(lambda: into.status.groups == 30)
    assert names(folder) == [str(number) for number in range(30)]


def test_the_writer_outlives_its_input_and_commits_the_rest(folder: Path) -> None:
    """As when the server is killed: nobody waits for the writer."""
    into = Recorder(folder, GIB)
    into.start()
    next_writer(folder)
    record(into, "a")
    wait_until(lambda: inbox.size_bytes(folder) > 0)
    into._stopping.set()
    into._let_end()
    wait_until(lambda: not writers(folder))
    assert names(folder) == ["a"]
    asyncio.run(into.stop())


def test_a_damaged_end_of_the_inbox_is_counted_when_the_server_ends(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), recording(folder) as into:
        record(into, "a")
        wait_until(lambda: into.status.groups == 1)
        [writing] = writers(folder)
        writing.suspend()
        [segment] = inbox.segments(folder)
        whole = segment.stat().st_size
        record(into, "b", "c")
        wait_until(lambda: into._waiting_bytes > 0)
        with segment.open("r+b") as stream:
            stream.seek(whole)
            stream.write(bytes(segment.stat().st_size - whole))
        writing.resume()
    assert names(folder) == ["a"]
    assert (into.status.groups, into.status.dropped["damaged"], into.status.queued_bytes) == (1, 2, 0)
    assert not [line for line in caplog.messages if "its writer goes on" in line]


def test_a_full_queue_drops_and_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that does not answer: the first frame is being written all the time."""
    is_free = threading.Event()
    write = inbox._write_all

    def slow(*arguments: object) -> None:
        is_free.wait(30)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(inbox, "_write_all", slow)
    monkeypatch.setattr(recorder, "MAX_QUEUE_BYTES", 500_000)
    with caplog.at_level(logging.WARNING), recording(folder) as into:
        for number in range(20):
            record(into, f"{number}", f"{number} too", characters=5_000)
        dropped = into.status.dropped["queue_full"]
        assert 10 < dropped < 40
        assert into.status.queued_bytes <= 500_000
        is_free.set()
        wait_until(lambda: accounted(into) == 40)
    assert into.status.dropped["queue_full"] == dropped
    kept = [name for number in range(20 - dropped // 2) for name in (f"{number}", f"{number} too")]
    assert names(folder) == kept
    starts = [line for line in caplog.messages if line.startswith("the ledger drops groups")]
    ends = [line for line in caplog.messages if f"{dropped} (queue_full)" in line]
    assert (len(starts), len(ends)) == (1, 1)


def test_what_is_queued_on_a_slow_disk_when_the_server_ends_is_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_free, is_writing = threading.Event(), threading.Event()
    write = inbox._write_all

    def slow(*arguments: object) -> None:
        is_writing.set()
        is_free.wait(30)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(inbox, "_write_all", slow)
    monkeypatch.setattr(recorder, "STOP_DEADLINE_S", 0.1)
    with recording(folder) as into:
        record(into, "being written")
        assert is_writing.wait(30)
        record(into, "a", "b")
        assert into.put_image("-", "0" * 64, b"image")
        record(into, "c")
    assert (into.status.dropped["queue_full"], into.status.dropped_images) == (3, 1)
    is_free.set()
    into._threads[0].join(30)
    assert not into._threads[0].is_alive(), "it ends after the frame that it was writing"
    assert into._sequence == 1
    wait_until(lambda: not writers(folder))


def test_an_image_for_which_there_is_no_room_is_refused_and_drops_nothing(folder: Path) -> None:
    into = Recorder(folder, 4 * 2**20)
    assert not into.put_image("-", "0" * 64, bytes(2**20))
    assert into.put_image("-", "0" * 64, bytes(2**19))
    assert not into.put_image("-", "0" * 64, bytes(2**19)), "what is queued takes the room"
    assert (into.status.dropped_images, sum(into.status.dropped.values())) == (0, 0)
    asyncio.run(into.stop())


def test_an_image_that_cannot_be_appended_is_counted_and_begins_no_episode(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(inbox, "_write_all", failing)
    with caplog.at_level(logging.WARNING), recording(folder) as into:
        assert into.put_image("-", "0" * 64, b"image")
        wait_until(lambda: into.status.dropped_images == 1)
    assert "the ledger drops an image: disk_full" in caplog.text
    assert "groups" not in caplog.text
    assert sum(into.status.dropped.values()) == 0


def test_one_request_may_be_larger_than_the_queue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_QUEUE_BYTES", 100)
    with recording(folder) as into:
        record(into, "a", characters=5_000)
    assert names(folder) == ["a"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EIO, "write_failed"),
        (errno.EROFS, "write_failed"),
    ],
)
def test_an_inbox_that_cannot_be_written_drops_and_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    """Each frame fails after half of it was written."""
    write = inbox._write_all
    with recording(folder) as into:
        record(into, "before")
        wait_until(lambda: into.status.groups == 1)

        def failing(segment: object, part: bytes) -> None:
            write(segment, part[: len(part) // 2])  # type: ignore[arg-type]
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as broken:
            broken.setattr(inbox, "_write_all", failing)
            record(into, "lost", "lost too")
            wait_until(lambda: accounted(into) == 3)
        record(into, "after")
        wait_until(lambda: accounted(into) == 4)
    assert names(folder) == ["before", "after"]
    assert {name: count for name, count in into.status.dropped.items() if count} == {reason: 2}


def test_a_corrupt_ledger_drops_and_counts_until_it_is_moved_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / FILE).write_bytes(b"not a database " * 1_000)
    with recording(folder) as into:
        wait_until(lambda: into.status.problem is not None)
        record(into, "a", "b")
        wait_until(lambda: into.status.dropped["corrupt"] == 2)
        (folder / FILE).rename(folder / "aside")
        wait_until(lambda: into.status.problem is None)
        record(into, "c")
        wait_until(lambda: into.status.groups == 1)
    assert names(folder) == ["c"]


def test_a_locked_ledger_is_written_once_it_is_free(folder: Path) -> None:
    """What waits meanwhile has a bound of its own."""
    open_to_write(folder).close()
    holder = sqlite3.connect(folder / FILE, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    with recording(folder, max_bytes=4 * 2**20) as into:
        wait_until(lambda: into.status.problem is not None)
        for number in range(40):
            record(into, f"{number}", characters=5_000)
        wait_until(lambda: into.status.dropped["locked"] > 0)
        assert into.status.groups == 0
        holder.close()
        wait_until(lambda: accounted(into) == 40)
    assert len(names(folder)) == into.status.groups > 0


@pytest.mark.parametrize(
    "program",
    [
        "raise SystemExit(3)",
        'print(\'{"kept": 1, "giv\')',
        "print('{\"unknown\": 1}')",
        "print('[]', flush=True); input()",
        "print('1e400'); print('null', flush=True); input()",
    ],
)
def test_a_writer_that_does_not_work_is_reported_and_replaced(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """It never starts, or reports what cannot be read: the next one commits what waits."""
    (tmp_path / "broken_writer.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(recorder, "FIRST_PAUSE_S", 0.1)
    with recording(folder) as into:
        working = next_writer(folder)
        with monkeypatch.context() as broken:
            broken.setattr(recorder, "MODULE", "broken_writer")
            working.kill()
            wait_until(lambda: "the writer" in (into.status.problem or ""))
            record(into, "a")
            wait_until(lambda: inbox.size_bytes(folder) > 0)
        wait_until(lambda: into.status.problem is None and into.status.groups == 1)
        assert into._threads[1].is_alive()
    assert names(folder) == ["a"]


def test_a_report_is_written_as_a_whole(folder: Path) -> None:
    detail = "\U0001f600" * 10_000
    report = writer_process.Report(
        kept=2**63,
        given_up=2**63,
        damaged=2**63,
        damaged_before=2**63,
        damaged_bytes=2**63,
        bytes=2**63,
        fault="write_failed",
        detail=detail,
    )
    report.detail = detail[: writer_process.MAX_DETAIL_CHARACTERS]
    assert len(json.dumps(asdict(report))) < select.PIPE_BUF


def test_a_second_server_is_refused_at_once(folder: Path) -> None:
    with recording(folder), pytest.raises(LedgerLocked, match=f"the process {os.getpid()} records into"):
        Recorder(folder, GIB)
    with recording(folder):
        pass


def test_a_lock_ends_with_its_process(folder: Path) -> None:
    with Lock(folder), pytest.raises(LedgerLocked):
        Lock(folder)
    Lock(folder).release()


def test_a_ledger_of_another_version_is_refused(folder: Path) -> None:
    connection = open_to_write(folder)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OtherVersion, match="is a ledger of version 99"):
        Recorder(folder, GIB)
    Lock(folder).release()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LedgerUnusable, match="cannot be written"):
            Recorder(folder, GIB)


MOUNTS = r"""21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 0:5 / /proc rw - proc proc rw
23 21 0:40 / /data rw,relatime shared:1 master:2 - nfs4 server:/export rw
24 23 0:41 / /data/local rw - xfs /dev/sdb rw
25 21 0:42 / /with\040space rw - cifs //server/share rw
26 21 0:43 / /ssh rw - fuse.sshfs user@host:/ rw
27 21 0:44 / /fuse rw - fuse.bindfs / rw
28 21 0:45 / /twice rw - nfs server:/ rw
29 21 0:46 / /twice rw - tmpfs tmpfs rw
30 21 0:47 / /lustre rw - lustre mds:/ rw
31 21 0:48 / /ceph rw - ceph mon:/ rw
32 21 0:49 / /nine rw - 9p host rw
33 21 0:50 / /smb rw - smb3 //server/share rw
34 21 0:51 / /gluster rw - fuse.glusterfs server:/ rw
a line that is not a mount
"""


@pytest.mark.parametrize(
    ("folder", "kind", "is_local"),
    [
        ("/home/ledger", "ext4", True),
        ("/data/ledger/deep/down", "nfs4", False),
        ("/data", "nfs4", False),
        ("/data/local/ledger", "xfs", True),
        ("/database", "ext4", True),
        ("/with space/ledger", "cifs", False),
        ("/ssh/ledger", "fuse.sshfs", False),
        ("/fuse/ledger", "fuse.bindfs", True),
        ("/twice/ledger", "tmpfs", True),
        ("/lustre/a", "lustre", False),
        ("/ceph/a", "ceph", False),
        ("/nine/a", "9p", False),
        ("/smb/a", "smb3", False),
        ("/gluster/a", "fuse.glusterfs", False),
    ],
)
def test_network_file_systems_are_refused(tmp_path: Path, folder: str, kind: str, is_local: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert file_system_of(Path(folder), mounts) == kind
    if is_local:
        check_local(Path(folder), mounts)
    else:
        with pytest.raises(LedgerUnusable, match="network file system"):
            check_local(Path(folder), mounts)


def test_a_link_is_followed_to_its_file_system(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/data/ledger")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert file_system_of(tmp_path / "link", mounts) == "nfs4"


def test_without_a_list_of_mounts_every_folder_is_taken(tmp_path: Path) -> None:
    check_local(tmp_path, tmp_path / "missing")
    assert file_system_of(tmp_path) is not None


def test_a_stopped_process_that_was_never_started_releases_its_lock(folder: Path) -> None:
    asyncio.run(Recorder(folder, GIB).stop())
    Lock(folder).release()
