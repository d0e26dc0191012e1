"""From the inbox into the ledger: in order, once, within the size, whatever ends in between."""

import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from ireasoner.reward_server.ledger import eviction, images, inbox, insert, schema
from ireasoner.reward_server.ledger.images import digest, image_file
from ireasoner.reward_server.ledger.schema import FILE, IMAGES, open_to_read, open_to_write, transaction
from ireasoner.reward_server.ledger.writer_process import Writer, drain
from ireasoner.reward_server.scoring_config import PAPER
from tests.reward_server.ledger_records import Json, exchange, names, sent

GIB = 2**30
FEEDS = [f"{number:020d}-00000000" for number in (1, 2, 3)]


class Server:
    """What a server appends to an inbox."""

    def __init__(self, folder: Path, feed: str = FEEDS[0], segment_bytes: int = 2**20) -> None:
        self._appender = inbox.Appender(folder, feed, segment_bytes)
        self._sequence = self._groups = 0

    def scores(self, *groups: Json, at_s: float = 0.0, **fields: Any) -> None:
        header = {
            "kind": "scores",
            "received_s": 1_800_000_000.0 + at_s,
            "experiment": fields.pop("experiment", "-"),
            "endpoint": "solver",
            "progress": 0.5,
            "config_label": fields.pop("config_label", "paper"),
            "config": PAPER.model_dump_json(),
            "embedder": "compass",
            "groups": len(groups),
        }
        self.frame(header, *exchange(*groups, **fields))

    def image(self, data: bytes, experiment: str = "-", at_s: float = 0.0) -> str:
        sha256 = digest(data)
        header = {"kind": "image", "received_s": at_s, "experiment": experiment, "sha256": sha256}
        self.frame(header, data, b"")
        return sha256

    def frame(self, header: Json, first: bytes, second: bytes) -> None:
        self._sequence += 1
        numbered = {**header, "sequence": self._sequence, "groups_before": self._groups}
        self._appender.append(orjson.dumps(numbered), first, second)
        self._groups += header.get("groups", 0)

    def close(self) -> None:
        self._appender.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    made = Server(folder)
    yield made
    made.close()


def writer(folder: Path, feed: str = FEEDS[0], max_bytes: int = GIB) -> Writer:
    return Writer(folder, feed, max_bytes)


def count(folder: Path, table: str) -> int:
    with closing(open_to_read(folder)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_frames_are_committed_in_their_order(folder: Path, server: Server) -> None:
    writing = writer(folder)
    server.scores(sent(["7"], "a"), sent(["7"], "b"), update=1)
    assert writing.work()
    server.scores(sent(["7"], "c"))
    assert writing.work()
    assert names(folder) == ["a", "b", "c"]
    assert (writing.report.kept, writing.report.fault) == (2, None)
    assert len(inbox.segments(folder)) == 1, "it may grow"
    assert writing.work(ended=True)
    assert inbox.segments(folder) == []


def test_whole_segments_go_once_they_are_committed(folder: Path) -> None:
    server = Server(folder, segment_bytes=1)
    writing = writer(folder)
    for name in "abc":
        server.scores(sent(["7"], name))
    assert len(inbox.segments(folder)) == 3
    writing.work()
    assert (names(folder), len(inbox.segments(folder))) == (["a", "b", "c"], 1)


def test_a_new_writer_repeats_nothing(folder: Path, server: Server) -> None:
    server.scores(sent(["7"], "a"))
    writer(folder).work()
    server.scores(sent(["7"], "b"))
    for _ in range(2):
        again = writer(folder)
        assert again.work()
        assert again.report.kept == 2, "the server learns what the writer before had no time to report"
    assert names(folder) == ["a", "b"]


@pytest.mark.parametrize("cut", [1, 3, 23, 24, 25, 40, 500])
def test_a_torn_frame_is_left_out(folder: Path, server: Server, cut: int) -> None:
    server.scores(sent(["7"], "a"))
    [segment] = inbox.segments(folder)
    whole = segment.stat().st_size
    server.scores(sent(["7"], "torn"))
    server.close()
    with segment.open("r+b") as stream:
        stream.truncate(whole + cut)
    later = Server(folder, FEEDS[1])
    later.scores(sent(["7"], "b"))
    assert writer(folder, FEEDS[1]).work()
    assert names(folder) == ["a", "b"]
    assert inbox.segments(folder) != [segment]


def test_a_frame_that_is_still_being_written_is_waited_for(folder: Path, server: Server) -> None:
    server.scores(sent(["7"], "a"))
    [segment] = inbox.segments(folder)
    data = segment.read_bytes()
    segment.write_bytes(data[:-10])
    writing = writer(folder)
    assert writing.work()
    assert names(folder) == []
    segment.write_bytes(data)
    assert writing.work()
    assert names(folder) == ["a"]


def test_the_writer_of_a_killed_server_leaves_the_next_servers_segments_alone(folder: Path) -> None:
    old, new = Server(folder, FEEDS[0]), Server(folder, FEEDS[1])
    old.scores(sent(["7"], "old"))
    new.scores(sent(["7"], "new"))
    assert writer(folder, FEEDS[0]).work(ended=True)
    assert names(folder) == ["old"]
    assert [inbox.feed_of(each) for each in inbox.segments(folder)] == [FEEDS[1]]
    new.scores(sent(["7"], "newer"))
    assert writer(folder, FEEDS[1]).work()
    assert names(folder) == ["old", "new", "newer"]


def test_two_writers_at_once_keep_each_frame_once(folder: Path) -> None:
    old = Server(folder, FEEDS[0])
    old.scores(sent(["7"], "old"))
    one, other = writer(folder, FEEDS[0]), writer(folder, FEEDS[1])
    assert one.work()
    assert other.work()
    assert one.work(ended=True)
    assert names(folder) == ["old"]


def test_a_new_feed_sorts_last_even_if_the_clock_was_set_back(folder: Path) -> None:
    future = "09999999999999999999-00000000"
    Server(folder, future).scores(sent(["7"]))
    assert inbox.new_feed(folder) > future


def test_what_a_server_left_is_drained(folder: Path, server: Server) -> None:
    server.scores(sent(["7"], "a"))
    assert drain(folder, GIB).fault is None
    assert (names(folder), inbox.segments(folder)) == (["a"], [])


HEAD_BYTES = 24


def damaged_request(frame: bytes) -> bytes:
    """The frame with another last letter of its first payload."""
    end = HEAD_BYTES + sum(int.from_bytes(frame[at : at + 4], "little") for at in (4, 8)) - 1
    return frame[:end] + b"~" + frame[end + 1 :]


def damaged_reward(frame: bytes) -> bytes:
    """The frame with another digit in the response, which is JSON as before."""
    at = frame.rindex(b'"reward": ') + len(b'"reward": ')
    other = b"1" if frame[at : at + 1] == b"0" else b"0"
    return frame[:at] + other + frame[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "the mark": lambda frame: b"\0" + frame[1:],
    "the length of the header": lambda frame: frame[:4] + b"\xff" + frame[5:],
    "the length of a payload": lambda frame: frame[:10] + b"\x7f" + frame[11:],
    "the checksum of its parts": lambda frame: frame[:16] + bytes([frame[16] ^ 1]) + frame[17:],
    "the head's checksum": lambda frame: frame[:23] + bytes([frame[23] ^ 1]) + frame[24:],
    "the header": lambda frame: frame[: HEAD_BYTES + 9] + b"~" + frame[HEAD_BYTES + 10 :],
    "the request": damaged_request,
    "a reward": damaged_reward,
    "all of it": lambda frame: bytes(len(frame)),
    "the head is missing": lambda frame: frame[HEAD_BYTES:],
}


def frames_of(segment: Path) -> list[bytes]:
    """The bytes of each frame."""
    data, parts = segment.read_bytes(), [*inbox.read(segment, 0)]
    starts = [0, *(each.end for each in parts)]
    return [data[start:end] for start, end in pairwise(starts)]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("is_own", [True, False], ids=["of this server", "of a former one"])
@pytest.mark.parametrize("at", [0, 1])
def test_reading_goes_on_behind_a_damaged_frame(
    folder: Path, server: Server, damage: Callable[[bytes], bytes], is_own: bool, at: int
) -> None:
    """Groups in it are counted, however many its head claims."""
    server.scores(sent(["7"], "a"), sent(["7"], "b"))
    server.scores(sent(["7"], "c"), sent(["7"], "d"), sent(["7"], "e"))
    server.scores(sent(["7"], "f"))
    server.scores(sent(["7"], "g"))
    [segment] = inbox.segments(folder)
    frames = frames_of(segment)
    damaged = damage(frames[at])
    segment.write_bytes(b"".join([*frames[:at], damaged, *frames[at + 1 :]]))
    writing = writer(folder, FEEDS[0] if is_own else FEEDS[1])
    assert writing.work()
    assert names(folder) == [*("cdefg" if at == 0 else "abfg")]
    report = writing.report
    lost = (2, 3)[at]
    assert (report.damaged, report.damaged_before) == ((lost, 0) if is_own else (0, lost))
    assert report.damaged_bytes == len(damaged)
    again = writer(folder, FEEDS[0] if is_own else FEEDS[1])
    assert again.work()
    assert (again.report.damaged, again.report.damaged_before) == (0, 0), "they are counted once"
    assert again.report.damaged_bytes == 0


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("is_last", [True, False], ids=["the last frame", "two frames"])
def test_a_damaged_end_is_reported_by_one_writer(
    folder: Path, server: Server, damage: Callable[[bytes], bytes], is_last: bool
) -> None:
    """The segment stays, since its server may go on; once it has, the rest of the damage is known too."""
    for name in "abc":
        server.scores(sent(["7"], name))
    [segment] = inbox.segments(folder)
    frames = frames_of(segment)
    kept = 2 if is_last else 1
    damaged = [damage(each) for each in frames[kept:]]
    segment.write_bytes(b"".join([*frames[:kept], *damaged]))
    reported = 0
    for _ in range(3):
        writing = writer(folder)
        assert writing.work()
        assert names(folder) == [*"abc"[:kept]]
        reported += writing.report.damaged_bytes
        assert writing.work()
    assert 0 < reported <= sum(map(len, damaged))
    server.scores(sent(["7"], "d"))
    for _ in range(2):
        writing = writer(folder)
        assert writing.work()
        reported += writing.report.damaged_bytes
    assert names(folder) == [*"abc"[:kept], "d"]
    assert reported == sum(map(len, frames[kept:])), "the server writes on where it was"
    assert writing.work(ended=True)
    assert [*(folder / inbox.FOLDER).iterdir()] == []


def test_a_damaged_end_is_counted_in_bytes_until_the_next_frame_tells_the_groups(
    folder: Path, server: Server
) -> None:
    server.scores(sent(["7"], "a"))
    server.scores(sent(["7"], "b"))
    [segment] = inbox.segments(folder)
    first, second = frames_of(segment)
    with segment.open("r+b") as stream:
        stream.seek(len(first))
        stream.write(bytes(len(second)))
    writing = writer(folder)
    assert writing.work()
    assert (writing.report.kept, writing.report.damaged) == (1, 0)
    assert len(second) - HEAD_BYTES < writing.report.damaged_bytes <= len(second)
    server.scores(sent(["7"], "c"))
    assert writing.work()
    assert names(folder) == ["a", "c"]
    assert (writing.report.kept, writing.report.damaged) == (3, 1)
    assert writing.report.damaged_bytes == len(second)


def test_a_damaged_end_of_a_segment_is_counted_with_the_next_one(folder: Path) -> None:
    server = Server(folder, segment_bytes=1)
    for name in "abc":
        server.scores(sent(["7"], name))
    segments = inbox.segments(folder)
    segments[1].write_bytes(bytes(1_000))
    writing = writer(folder)
    assert writing.work()
    assert names(folder) == ["a", "c"]
    assert writing.report.damaged == 1


def test_no_image_passes_for_frames(folder: Path, server: Server) -> None:
    """Not even one that holds a whole segment of another server, behind a head that a disk has damaged."""
    other = Server(folder, FEEDS[1])
    other.scores(sent(["7"], "forged"), experiment="theirs")
    other.close()
    forged = inbox.segments(folder)[-1].read_bytes()
    inbox.segments(folder)[-1].unlink()
    server.image(forged * 3)
    server.scores(sent(["7"], "a"))
    [segment] = inbox.segments(folder)
    segment.write_bytes(b"\0" + segment.read_bytes()[1:])
    writing = writer(folder)
    assert writing.work()
    assert names(folder) == ["a"]
    assert writing.report.damaged_bytes > len(forged)


def test_a_damaged_image_is_left_out(folder: Path, server: Server) -> None:
    data = b"the bytes of an image" * 100
    server.image(data)
    server.scores(sent(["7"], "a"))
    [segment] = inbox.segments(folder)
    whole = segment.read_bytes()
    assert whole.count(data) == 1
    segment.write_bytes(whole.replace(data, b"T" + data[1:]))
    writing = writer(folder)
    assert writing.work()
    assert names(folder) == ["a"]
    assert count(folder, "images") == 0
    assert writing.report.damaged_bytes > len(data)


def notes(folder: Path) -> list[str]:
    """What the inbox holds besides segments."""
    return sorted(
        each.name for each in (folder / inbox.FOLDER).iterdir() if each not in inbox.segments(folder)
    )


class Killed(BaseException):
    """The writer ends here."""


def test_a_note_without_its_segment_goes_with_the_next_start(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note whose segment is there stays, of a later server too, and so do files that are no notes of ours."""
    server.scores(sent(["7"], "a"))
    server.close()
    later = Server(folder, FEEDS[2])
    later.scores(sent(["7"], "b"))
    [gone, kept] = inbox.segments(folder)
    inbox.leave_out(gone, inbox.Gap(0, 1))
    inbox.leave_out(kept, inbox.Gap(0, 1))
    foreign = folder / inbox.FOLDER / "mine.left-out"
    foreign.write_text("1")
    unlink = Path.unlink

    def killed_between(file: Path, *, missing_ok: bool = False) -> None:
        unlink(file, missing_ok=missing_ok)
        if file == gone:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed_between)
        with pytest.raises(Killed):
            writer(folder).work(ended=True)
    assert notes(folder) == [
        gone.with_suffix(".left-out").name,
        kept.with_suffix(".left-out").name,
        foreign.name,
    ]
    assert writer(folder, FEEDS[1]).work()
    assert notes(folder) == [kept.with_suffix(".left-out").name, foreign.name]
    later.close()
    assert writer(folder, FEEDS[2]).work(ended=True)
    assert notes(folder) == [foreign.name]


def test_only_the_newest_starts_of_servers_are_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insert, "MOST_FEEDS", 2)
    for feed in FEEDS:
        server = Server(folder, feed)
        server.scores(sent(["7"], feed))
        server.close()
        assert writer(folder, feed).work(ended=True)
    assert names(folder) == FEEDS
    writer(folder, FEEDS[2]).work()
    with closing(open_to_read(folder)) as connection:
        assert connection.execute("SELECT id FROM feeds ORDER BY id").fetchall() == [(FEEDS[1],), (FEEDS[2],)]


BAD_FRAMES: dict[str, tuple[bytes, bytes]] = {
    "not JSON": (b"{", b"{}"),
    "no groups": (b"{}", b"{}"),
    "fewer groups in the response": (exchange(sent(["7"]))[0], exchange()[1]),
    "no number": (
        exchange(sent(["7"]))[0],
        exchange(sent(["7"]))[1].replace(b'"entropy_nats": 0.25', b'"entropy_nats": {}'),
    ),
    "a number that SQLite does not hold": (
        exchange(sent(["7"]), update=2**70)[0],
        exchange(sent(["7"]))[1],
    ),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("bad", BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_a_frame_that_cannot_be_inserted_is_given_up_alone(
    folder: Path, server: Server, bad: tuple[bytes, bytes]
) -> None:
    header = {"kind": "scores", "received_s": 1.0, "experiment": "-", "endpoint": "solver", "progress": 1.0}
    server.scores(sent(["7"], "a"))
    server.frame({**header, "config_label": "", "config": "{}", "embedder": "", "groups": 2}, *bad)
    server.scores(sent(["7"], "b"))
    writing = writer(folder)
    assert writing.work()
    assert (names(folder), writing.report.given_up, writing.report.kept) == (["a", "b"], 2, 3)


def test_a_body_in_utf_16_is_read(folder: Path, server: Server) -> None:
    body, answer = exchange(sent(["7"], "a"))
    header = {"kind": "scores", "received_s": 1.0, "experiment": "-", "endpoint": "solver", "progress": 1.0}
    context = {"config_label": "", "config": "{}", "embedder": "", "groups": 1}
    server.frame({**header, **context}, body.decode().encode("utf-16"), answer)
    assert writer(folder).work()
    assert names(folder) == ["a"]


def _locked(folder: Path) -> Callable[[], None]:
    holder = sqlite3.connect(folder / FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def _corrupt(folder: Path) -> Callable[[], None]:
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(b"not a database " * 4096)

    def repair() -> None:
        (folder / FILE).write_bytes(whole)

    return repair


def _no_more_space(folder: Path) -> Callable[[], None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / FILE).stat().st_size // 2, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _no_folder(folder: Path) -> Callable[[], None]:
    (folder / FILE).rename(folder / "aside")
    (folder / FILE).mkdir()

    def repair() -> None:
        (folder / FILE).rmdir()
        (folder / "aside").rename(folder / FILE)

    return repair


@pytest.mark.parametrize(
    ("breaks", "fault"),
    [
        (_locked, "locked"),
        (_corrupt, "corrupt"),
        (_no_more_space, ("disk_full", "write_failed")),
        (_no_folder, "write_failed"),
    ],
)
def test_what_cannot_be_written_stays_in_the_inbox(
    folder: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    breaks: Callable[[Path], Callable[[], None]],
    fault: str | tuple[str, ...],
) -> None:
    monkeypatch.setattr("ireasoner.reward_server.ledger.schema.BUSY_TIMEOUT_S", 0.01)
    server.scores(sent(["7"], "a"))
    writing = writer(folder)
    assert writing.work()
    writing.close()
    server.scores(*(sent(["7", "8"], f"{number} {'x' * 5_000}") for number in range(20)))
    repair = breaks(folder)
    try:
        for _ in range(2):
            assert not writing.work()
            assert writing.report.fault in fault
            assert writing.report.detail
    finally:
        repair()
    assert writing.work()
    assert (writing.report.fault, writing.report.detail, len(names(folder))) == (None, None, 21)


def test_a_full_database_is_a_full_disk(folder: Path, server: Server) -> None:
    server.scores(sent(["7"], "a"))
    writing = writer(folder)
    writing.work()
    writing._open().execute("PRAGMA max_page_count = 1")
    server.scores(*(sent(["7"], f"{number} {'x' * 5_000}") for number in range(50)))
    assert not writing.work()
    assert writing.report.fault == "disk_full"


def test_a_long_read_cannot_make_the_log_grow_without_bound(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ireasoner.reward_server.ledger.schema.BUSY_TIMEOUT_S", 0.01)
    writing = writer(folder, max_bytes=2 * 2**20)
    server.scores(sent(["7"]))
    writing.work()
    with closing(open_to_read(folder)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM groups").fetchall()
        for number in range(40):
            server.scores(*(sent(["7"], f"{number} {index} {'x' * 2_000}") for index in range(8)))
            if not writing.work():
                break
        assert writing.report.fault == "locked"
        assert (folder / f"{FILE}-wal").stat().st_size < 2**20
        reader.execute("COMMIT")
    assert writing.work()


def groups_of(folder: Path) -> list[tuple[str, int | None]]:
    with closing(open_to_read(folder)) as connection:
        found = connection.execute(
            "SELECT source, at FROM groups JOIN runs ON runs.id = run_id ORDER BY groups.id"
        )
        return list(dict.fromkeys(found.fetchall()))


def disk_bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def noise(seed: int, characters: int) -> str:
    """A text that cannot be compressed much."""
    import random

    return random.Random(seed).randbytes(characters // 2).hex()


def test_the_oldest_update_goes_first_and_the_size_stays_bounded(folder: Path) -> None:
    server = Server(folder, segment_bytes=2**16)
    writing = writer(folder, max_bytes=2 * 2**20)
    order: list[tuple[str, int | None]] = []
    peak = 0
    for update in range(24):
        source = "one" if update < 18 else "two"
        made = [sent([noise(100 * update + i, 2_000), "8"], f"{update}-{i}", question="q") for i in range(4)]
        server.scores(*made, source=source, update=update % 18, at_s=update)
        assert writing.work()
        order.append((source, update % 18))
        peak = max(peak, disk_bytes(folder))
        assert writing.report.bytes <= 2 * 2**20
    held = groups_of(folder)
    assert held == order[-len(held) :], "the newest stay, whole updates except perhaps the oldest of them"
    assert 2 < len(held) < 22
    assert peak <= 2 * 2**20
    with closing(open_to_read(folder)) as connection:
        evicted = dict(connection.execute("SELECT run_id, groups FROM evictions"))
        kept = connection.execute("SELECT count(*) FROM groups").fetchone()[0]
        assert sum(evicted.values()) + kept == 96
        assert connection.execute("SELECT count(*) FROM documents").fetchone() == (kept,)
        found = connection.execute("SELECT count(*) FROM texts WHERE texts MATCH '\"leads to\"'").fetchone()
        assert found == (kept,), "no group that is gone is found"
        connection.execute("PRAGMA integrity_check").fetchone()


def test_a_smaller_size_shrinks_the_file(folder: Path, server: Server) -> None:
    for update in range(20):
        server.scores(sent([noise(update, 10_000)], f"{update}"), update=update)
    larger = writer(folder)
    assert larger.work(ended=True)
    larger.close()
    before = (folder / FILE).stat().st_size
    smaller = writer(folder, FEEDS[1], max_bytes=2**20)
    assert smaller.work()
    smaller.close()
    assert (folder / FILE).stat().st_size < min(2**20, before)
    assert names(folder)[-1] == "19"


def test_groups_without_an_update_go_by_the_minute(folder: Path) -> None:
    server = Server(folder)
    for minute in range(3):
        for part in range(2):
            server.scores(sent(["7"], f"{minute}-{part}"), at_s=60 * minute + 10 * part)
    writing = writer(folder)
    writing.work()
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        assert eviction.evict_oldest(connection, folder)
    assert names(folder) == ["1-0", "1-1", "2-0", "2-1"]


def test_nothing_is_left_of_a_run_without_groups(folder: Path, server: Server) -> None:
    server.scores(sent(["7"], question="q"), source="gone", update=1, config_label="other")
    server.scores(sent(["7"], question="q"), source="kept", update=1)
    writer(folder).work()
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        assert eviction.evict_oldest(connection, folder)
        for table in ("runs", "questions", "scorings", "groups"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
        assert connection.execute("SELECT count(DISTINCT run_id) FROM points").fetchone() == (1,)
        assert connection.execute("SELECT run_id, groups FROM evictions").fetchall() == [(0, 1)]
        assert eviction.evict_oldest(connection, folder)
        assert not eviction.evict_oldest(connection, folder)
        assert connection.execute("SELECT run_id, groups FROM evictions").fetchall() == [(0, 2)]


def test_images_are_kept_as_long_as_a_group_of_their_experiment_names_them(folder: Path) -> None:
    server = Server(folder)
    shared, own, unnamed = (server.image(data) for data in (b"shared", b"own", b"unnamed"))
    server.image(b"shared", experiment="other")
    server.scores(sent(["7"], image=shared), sent(["7"], "o", image=own), update=1)
    server.scores(sent(["7"], "later", image=shared), update=2)
    writing = writer(folder)
    assert writing.work()
    assert image_file(folder, own).read_bytes() == b"own"
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:

        def held() -> list[tuple[str, str]]:
            return sorted(connection.execute("SELECT sha256, experiment FROM images"))

        assert eviction.evict_unnamed(connection, folder, before_s=1.0)
        assert held() == sorted([(shared, "-"), (own, "-")]), "the other experiment names none"
        assert eviction.evict_oldest(connection, folder)
        assert held() == [(shared, "-")]
        assert not image_file(folder, own).exists()
        assert not image_file(folder, unnamed).exists()
        assert image_file(folder, shared).exists()
        assert eviction.evict_oldest(connection, folder)
        assert held() == []
    assert [each for each in (folder / IMAGES).rglob("*") if each.is_file()] == []


def test_an_image_that_is_put_again_takes_no_more_room(folder: Path) -> None:
    server = Server(folder, segment_bytes=2**16)
    writing = writer(folder, max_bytes=4 * 2**20)
    server.scores(sent(["7"], "oldest"), update=1)
    for number in range(20):
        image = server.image(b"i" * 2**18, experiment="-" if number % 2 else f"{number}")
        assert writing.work()
    server.scores(sent(["7"], "names it", image=image), update=2)
    assert writing.work()
    assert writing._image_bytes == 2**18
    assert names(folder) == ["oldest", "names it"], "there is room for all groups"


def test_evicted_images_are_counted_without_reading_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(folder, segment_bytes=2**16)
    writing = writer(folder, max_bytes=2 * 2**20)
    connection = writing._open()
    monkeypatch.delattr(eviction, "image_bytes")
    for number in range(24):
        for experiment in ("one", "two")[: 1 + number % 2]:
            image = server.image(bytes([number]) * 2**17, experiment=experiment)
            if number % 3:
                server.scores(sent(["7"], image=image), experiment=experiment, update=number)
        assert writing.work()
    held = sum(each.stat().st_size for each in (folder / IMAGES).rglob("*") if each.is_file())
    monkeypatch.undo()
    assert writing._image_bytes == eviction.image_bytes(connection) == held < 24 * 2**17


def test_counting_the_groups_takes_as_long_however_many_there_are(folder: Path, server: Server) -> None:
    writing = writer(folder)
    steps: list[int] = []
    for groups in (10, 500):
        server.scores(*(sent(["7"], f"{groups}-{index}") for index in range(groups)))
        assert writing.work()
        connection = writing._open()
        calls: list[int] = []
        connection.set_progress_handler(partial(calls.append, 1), 1)
        eviction.groups_held(connection)
        connection.set_progress_handler(None, 1)
        steps.append(len(calls))
    assert eviction.groups_held(connection) == 510
    assert steps[0] == steps[1]


def test_images_alone_stay_within_the_size(folder: Path) -> None:
    server = Server(folder, segment_bytes=2**16)
    writing = writer(folder, max_bytes=2 * 2**20)
    for number in range(12):
        server.image(bytes([number]) * 2**18)
        assert writing.work()
    assert disk_bytes(folder) <= 2 * 2**20
    assert count(folder, "images") >= 1


def test_an_image_that_another_process_is_about_to_commit_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer of a killed server goes on while the next one begins."""
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 30.0)
    data = b"an image"
    opened, stored, cleaned = threading.Event(), threading.Event(), threading.Event()

    def clean() -> None:
        with closing(open_to_write(folder)) as one:
            opened.set()
            assert stored.wait(30)
            eviction.remove_orphans(one, folder)
        cleaned.set()

    with ThreadPoolExecutor(1) as pool, closing(open_to_write(folder)) as other:
        cleaning = pool.submit(clean)
        assert opened.wait(30)
        with transaction(other):
            images.store(folder, digest(data), data)
            stored.set()
            cleaned.wait(1)
            insert.insert_image(other, digest(data), "-", len(data), 1.0)
        cleaning.result(30)
    assert image_file(folder, digest(data)).exists()


def test_an_image_that_is_put_again_while_it_is_evicted_keeps_its_file(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"an image"
    sha256 = server.image(data)
    assert writer(folder).work()
    with closing(open_to_write(folder)) as one, closing(open_to_write(folder)) as other:
        remove = eviction._remove_images

        def removed(*words: Any) -> dict[str, int]:
            files = remove(*words)
            one.execute("COMMIT")  # as evict_unnamed does next
            with transaction(other):
                images.store(folder, sha256, data)
                insert.insert_image(other, sha256, "-", len(data), 1.0)
            one.execute("BEGIN")
            return files

        monkeypatch.setattr(eviction, "_remove_images", removed)
        eviction.evict_unnamed(one, folder, 1e12)
    assert count(folder, "images") == 1
    assert image_file(folder, sha256).exists()


def test_files_of_images_that_a_killed_writer_left_are_removed(folder: Path, server: Server) -> None:
    kept = server.image(b"kept")
    writer(folder).work()
    orphan = image_file(folder, digest(b"orphan"))
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    draft = image_file(folder, kept).with_suffix(".1.tmp")
    draft.write_bytes(b"half")
    writer(folder, FEEDS[1]).work()
    assert (orphan.exists(), draft.exists(), image_file(folder, kept).exists()) == (False, False, True)
