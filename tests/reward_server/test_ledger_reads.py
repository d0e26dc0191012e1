"""Reads of a ledger at the end of the server."""

import asyncio
import threading
from pathlib import Path

import pytest

from ireasoner.reward_server.errors import LedgerUnreadable
from ireasoner.reward_server.ledger import reads
from ireasoner.reward_server.ledger.ledgers import Ledgers
from ireasoner.reward_server.ledger.reads import Reads
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class Query:
    """Reads without end, in several statements."""

    def __init__(self, statements: int) -> None:
        self.begun = threading.Event()
        self._statements = statements

    def __call__(self, ledgers: Ledgers) -> None:
        [ledger] = ledgers
        with ledger.reading() as connection:
            for _ in range(self._statements - 1):
                connection.execute("SELECT 1").fetchone()
            self.begun.set()
            connection.execute(ENDLESS).fetchone()


@pytest.fixture
def ledgers(tmp_path: Path) -> Ledgers:
    keep(tmp_path, [record(sent(["7"]))])
    return Ledgers([tmp_path])


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
        assert not any(each.begun.is_set() for each in queries[reads.THREADS :])
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(ended())
    running, waiting = found[: reads.THREADS], found[reads.THREADS :]
    assert {type(each) for each in running} == {LedgerUnreadable}
    assert {type(each) for each in waiting} <= {asyncio.CancelledError}


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


def test_without_ledgers_there_is_nothing_to_close() -> None:
    asyncio.run(Reads(None).close())
