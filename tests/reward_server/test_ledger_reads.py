"""Reads of a ledger end: at their deadline, when their caller leaves, and with the server."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from ireasoner.reward_server.errors import DeadlineExceeded, LedgerUnreadable, NotReady
from ireasoner.reward_server.ledger import comparison, reads, run_list
from ireasoner.reward_server.ledger.comparison_file import ComparisonFile, Plan
from ireasoner.reward_server.ledger.ledgers import Ledger, Ledgers
from ireasoner.reward_server.ledger.read_call import ReadCall
from ireasoner.reward_server.ledger.reads import Reads
from ireasoner.reward_server.ledger.schema import LedgerUnusable
from tests.reward_server.ledger_reading import ENDLESS, keep, reader
from tests.reward_server.ledger_records import record, sent


class Query:
    """Reads without end, in several statements."""

    def __init__(self, statements: int = 1) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self._statements = statements

    def __call__(self, ledgers: Ledgers) -> None:
        try:
            self.read(*ledgers)
        finally:
            self.ended.set()

    def read(self, one: Ledger) -> None:
        with one.reading() as connection:
            for _ in range(self._statements - 1):
                connection.execute("SELECT 1").fetchone()
            self.begun.set()
            connection.execute(ENDLESS).fetchone()


class Again(Query):
    """Begins anew whenever SQLite is interrupted, as long as there is a connection."""

    def read(self, one: Ledger) -> None:
        for _ in range(3):
            with suppress(sqlite3.OperationalError):
                super().read(one)


class Compared(Query):
    """Reads a comparison, which has a file of its own, without end."""

    def read(self, one: Ledger) -> None:
        with comparison.reading(one.folder, "c") as connection:
            self.begun.set()
            connection.execute(ENDLESS).fetchone()


@pytest.fixture
def ledgers(tmp_path: Path) -> Ledgers:
    keep(tmp_path, [record(sent(["7"]))])
    with ComparisonFile(tmp_path, "c", Plan("paper", None, {})):
        return Ledgers([tmp_path])


QUERIES: dict[str, Callable[[], Query]] = {
    "one statement": Query,
    "many statements": lambda: Query(50),
    "one that tries again": Again,
    "a comparison": Compared,
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_read_that_takes_too_long_is_refused_and_gives_its_thread_back(
    ledgers: Ledgers, query: Callable[[], Query], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "DEADLINE_S", 0.2)
    monkeypatch.setattr(reads, "THREADS", 1)

    async def read() -> str:
        reading = Reads(ledgers)
        long = query()
        with pytest.raises(DeadlineExceeded, match=r"could not be read within 0\.2 s") as found:
            await reading.run(long)
        assert found.value.retry_after_s is not None
        await asyncio.to_thread(long.ended.wait, 30)
        assert long.ended.is_set(), "SQLite works on"
        monkeypatch.setattr(reads, "DEADLINE_S", 30)
        return await reading.run(lambda _: "read")

    assert asyncio.run(asyncio.wait_for(read(), 60)) == "read"


def ledger_of(folder: Path) -> AbstractContextManager[sqlite3.Connection]:
    [one] = Ledgers([folder])
    return one.reading()


def comparison_of(folder: Path) -> AbstractContextManager[sqlite3.Connection]:
    return comparison.reading(folder, "c")


@pytest.mark.parametrize("connected", [ledger_of, comparison_of])
@pytest.mark.parametrize(
    "statement", ["SELECT 1", "SELECT {}", "SELECT count(*) FROM sqlite_master WHERE {}"]
)
def test_a_read_of_many_short_statements_begins_none_once_it_has_to_end(
    ledgers: Ledgers,
    tmp_path: Path,
    connected: Callable[[Path], AbstractContextManager[sqlite3.Connection]],
    statement: str,
) -> None:
    """All on one connection, the same one or another each time; an error that is swallowed changes nothing."""
    call, done = ReadCall(), []

    def read() -> None:
        with connected(tmp_path) as connection:
            for number in range(100):
                connection.execute(statement.format(number)).fetchall()
                done.append(number)
                if number == 2:
                    call.interrupt()

    def again() -> None:
        with suppress(sqlite3.OperationalError, LedgerUnusable):
            read()
        read()

    with pytest.raises((sqlite3.OperationalError, LedgerUnusable), match="interrupted"):
        call.run(again)
    assert done == [0, 1, 2]
    ReadCall().run(read)
    assert len(done) == 103, "another call reads on"


def test_a_read_that_waits_for_a_thread_has_the_same_deadline(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "THREADS", 1)
    go = threading.Event()
    begun: list[str] = []

    async def read() -> None:
        reading = Reads(ledgers)
        first = asyncio.create_task(reading.run(lambda _: go.wait(60)))
        await asyncio.sleep(0)
        monkeypatch.setattr(reads, "DEADLINE_S", 0.05)
        with pytest.raises(DeadlineExceeded):
            await reading.run(lambda _: begun.append("late"))
        go.set()
        assert await first
        monkeypatch.setattr(reads, "DEADLINE_S", 30)
        await reading.run(lambda _: begun.append("next"))

    asyncio.run(asyncio.wait_for(read(), 60))
    assert begun == ["next"], "what nobody waits for is not begun"


def test_a_read_whose_caller_leaves_is_interrupted(ledgers: Ledgers) -> None:
    async def read() -> None:
        reading, long = Reads(ledgers), Query()
        task = asyncio.create_task(reading.run(long))
        await asyncio.to_thread(long.begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(long.ended.wait, 30)
        assert long.ended.is_set()

    asyncio.run(asyncio.wait_for(read(), 60))


def _raises(error: Exception) -> Callable[[Ledgers], None]:
    def read(_: Ledgers) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (sqlite3.OperationalError("disk I/O error"), LedgerUnreadable),
        (sqlite3.DatabaseError("malformed"), LedgerUnreadable),
        (LedgerUnusable("missing"), LedgerUnreadable),
        (TimeoutError("of the disk"), TimeoutError),
        (ValueError("a bug"), ValueError),
    ],
    ids=repr,
)
def test_what_a_read_raises_before_its_deadline_is_not_taken_for_it(
    ledgers: Ledgers, error: Exception, expected: type[Exception]
) -> None:
    async def read() -> None:
        await Reads(ledgers).run(_raises(error))

    with pytest.raises(expected):
        asyncio.run(read())


def test_the_answer_to_a_read_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, [record(sent(["7"]))])
    monkeypatch.setattr(reads, "DEADLINE_S", 0.2)
    monkeypatch.setattr(run_list, "runs", lambda ledgers, *_: Query()(ledgers))
    answer = reader(tmp_path).get("/ledger/runs")
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert answer.json()["retryable"]
    assert int(answer.headers["retry-after"]) > 0
    assert reader(tmp_path).get("/ledger/comparisons").status_code == 200


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_a_long_read_is_interrupted_at_the_end(ledgers: Ledgers, calls: int) -> None:
    """Those that wait for a thread are not begun."""

    async def ended() -> list[BaseException | None]:
        reading = Reads(ledgers)
        queries = [Query(3) for _ in range(calls)]
        tasks = [asyncio.create_task(reading.run(each)) for each in queries]
        for each in queries[: reads.THREADS]:
            await asyncio.to_thread(each.begun.wait, 30)
        await asyncio.wait_for(reading.close(), 30)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert not any(each.begun.is_set() for each in queries[reads.THREADS :])
        return found

    assert [type(each) for each in asyncio.run(ended())] == [NotReady] * calls


def test_what_cannot_be_interrupted_does_not_keep_the_server_from_ending(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reads, "CLOSE_DEADLINE_S", 0.05)
    go = threading.Event()

    async def ended() -> None:
        reading = Reads(ledgers)
        task = asyncio.create_task(reading.run(lambda _: go.wait(60)))
        await asyncio.sleep(0)
        await asyncio.wait_for(reading.close(), 30)
        assert not go.is_set()
        go.set()
        await task

    asyncio.run(ended())
    assert "1 reads of the ledger have not ended" in caplog.text


STUCK = """
import asyncio, sys, threading
from pathlib import Path
from ireasoner.reward_server.ledger import reads
from ireasoner.reward_server.ledger.ledgers import Ledger, Ledgers
reads.CLOSE_DEADLINE_S = 0.05

async def main():
    reading = reads.Reads(Ledgers([Path(sys.argv[1])]))
    task = asyncio.create_task(reading.run(lambda _: threading.Event().wait()))
    await asyncio.sleep(0.05)
    await reading.close()
    task.cancel()
    print("closed", flush=True)

asyncio.run(main())
"""


def test_what_cannot_be_interrupted_does_not_keep_the_process_from_ending(tmp_path: Path) -> None:
    """Python joins the threads of a pool when it ends."""
    command = [sys.executable, "-P", "-c", STUCK, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (ended.returncode, ended.stdout) == (0, "closed\n"), ended.stderr


def test_without_ledgers_there_is_nothing_to_close() -> None:
    asyncio.run(Reads(None).close())
