"""A client says that its calls wait: soon, then at intervals, and once for all calls of the client."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from ireasoner.clients import AsyncRewardClient, RewardError, TimedOut, Unavailable, Unreachable, retry, waits
from ireasoner.clients.connection import Connection, ToLogger
from ireasoner.clients.fingerprints import Fingerprints
from ireasoner.clients.reward_service import GROUP_WAIT_VARIABLE, RewardService, environment_seconds
from tests.clients.answers import GROUPS, SENT, right_answer
from tests.clients.counting_server import served
from tests.clients.lying_server import CLIENTS, LyingServer, response
from tests.rollout_server.running import free_port

EACH_CLIENT = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
ANSWER = response(json.dumps(right_answer(SENT)).encode())
Report = tuple[Exception, float]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "QUIET_S", 0.05)
    monkeypatch.setattr(waits, "REPORT_EVERY_S", 0.0)


def nothing(liar: LyingServer, *_: Any) -> Iterator[bytes]:
    """A server that is frozen until it closes."""
    liar.ends.wait(5)
    yield b""


@EACH_CLIENT
def test_a_frozen_server_is_reported_during_the_attempt(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Report] = []
    liar.reply = lambda *sent: nothing(liar, *sent)
    with client(liar.url, timeout_s=1, on_wait=lambda *report: reports.append(report)) as call:
        with pytest.raises(TimedOut):
            call("score", "solver", GROUPS)
        count = len(reports)
        assert count >= 3
        assert all(type(reason) is TimedOut and "no answer for" in str(reason) for reason, _ in reports)
        assert {left_s for _, left_s in reports} == {0.0}
        monkeypatch.setattr(waits, "QUIET_S", 60.0)
        liar.reply = lambda *_: iter([ANSWER])
        call("score", "solver", GROUPS)
    assert len(reports) == count, "an ended call is not reported"


@EACH_CLIENT
def test_a_server_that_is_down_is_reported_with_the_reason(client: Any) -> None:
    reports: list[Report] = []
    url = f"http://127.0.0.1:{free_port()}"
    options = {"retry_budget_s": 0.4, "on_wait": lambda *report: reports.append(report)}
    with client(url, **options) as call, pytest.raises(Unreachable):
        call("score", "solver", GROUPS)
    assert reports
    assert any("no answer for" in str(reason) for reason, _ in reports)
    assert all(0 <= left_s <= 0.4 for _, left_s in reports)


@EACH_CLIENT
def test_a_long_delay_is_reported_at_once(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server asks for a retry in a second; the reason is its error."""
    monkeypatch.setattr(waits, "QUIET_S", 60.0)
    reports: list[Report] = []
    problem = json.dumps({"status": 503, "code": "loading", "detail": "soon"}).encode()
    answers = iter([response(problem, "503 No", retry_after="1"), ANSWER])
    liar.reply = lambda *_: iter([next(answers)])
    options = {"retry_budget_s": 20.0, "on_wait": lambda *report: reports.append(report)}
    with client(liar.url, **options) as call:
        call("score", "solver", GROUPS)
    reason, left_s = reports[0]
    assert isinstance(reason, Unavailable)
    assert 10 < left_s <= 20


def raising(calls: list[Report], *report: Any) -> None:
    """A report that fails."""
    calls.append(report)
    raise RuntimeError("the progress bar is gone")


@EACH_CLIENT
def test_a_report_that_fails_during_an_attempt_is_logged_and_the_call_goes_on(
    client: Any, liar: LyingServer, caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[Report] = []
    twice = threading.Event()

    def report(*each: Any) -> None:
        if reports:
            twice.set()
        raising(reports, *each)

    def answer_late(*_: object) -> Iterator[bytes]:
        twice.wait(20)
        yield ANSWER

    liar.reply = answer_late
    with client(liar.url, on_wait=report) as call:
        assert call("score", "solver", GROUPS).groups[0].id == "q1"
    assert twice.is_set(), "reports go on"
    assert "on_wait failed" in caplog.text
    assert "the progress bar is gone" in caplog.text


@EACH_CLIENT
def test_a_report_that_fails_before_a_delay_is_logged_and_the_call_goes_on(
    client: Any, liar: LyingServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "QUIET_S", 60.0)
    monkeypatch.setattr(retry, "_REPORTED_DELAY_S", 0.0)
    reports: list[Report] = []
    answers = iter([response(b"{}", "503 No"), ANSWER])
    liar.reply = lambda *_: iter([next(answers)])
    with client(liar.url, retry_budget_s=20.0, on_wait=partial(raising, reports)) as call:
        assert call("score", "solver", GROUPS).groups[0].id == "q1"
    assert len(reports) == 1
    assert "on_wait failed" in caplog.text


@EACH_CLIENT
def test_a_quick_answer_is_not_reported(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "QUIET_S", 60.0)
    reports: list[Report] = []
    liar.reply = lambda *_: iter([ANSWER])
    before = set(threading.enumerate())
    with client(liar.url, on_wait=lambda *report: reports.append(report)) as call:
        for _ in range(3):
            call("score", "solver", GROUPS)
    assert not reports
    assert not [each for each in set(threading.enumerate()) - before if each.name == "reward-wait"]


@EACH_CLIENT
def test_reports_are_apart_however_many_calls_wait(
    client: Any, liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "REPORT_EVERY_S", 60.0)
    reports: list[Report] = []
    liar.reply = lambda *sent: nothing(liar, *sent)
    options = {"timeout_s": 0.3, "on_wait": lambda *report: reports.append(report)}
    with client(liar.url, **options) as call:
        for _ in range(2):
            with pytest.raises(TimedOut):
                call("score", "solver", GROUPS)
    assert len(reports) == 1


def test_a_report_that_blocks_does_not_hold_up_an_answered_call(
    liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A progress bar or a logger may need a lock that the caller of `score` holds."""
    monkeypatch.setattr(waits, "_LAST_REPORT_S", 0.05)
    lock, begun, written = threading.Lock(), threading.Event(), threading.Event()

    def report(*_: object) -> None:
        begun.set()
        with lock:
            written.set()

    def answer_late(*_: object) -> Iterator[bytes]:
        begun.wait(20)
        yield ANSWER

    liar.reply = answer_late
    with lock, CLIENTS["sync"](liar.url, on_wait=report) as call:
        assert call("score", "solver", GROUPS).groups[0].id == "q1"
        assert begun.is_set()
        assert not written.is_set()
    assert written.wait(20)


def test_calls_at_a_time_share_one_report(liar: LyingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "REPORT_EVERY_S", 60.0)
    reports: list[Report] = []
    liar.reply = lambda *sent: nothing(liar, *sent)

    async def run() -> list[Any]:
        client = AsyncRewardClient(
            liar.url, timeout_s=0.3, retry_budget_s=0, on_wait=lambda *each: reports.append(each)
        )
        async with client:
            return await asyncio.gather(
                *(client.score("solver", GROUPS) for _ in range(20)), return_exceptions=True
            )

    assert {type(each) for each in asyncio.run(run())} == {TimedOut}
    assert len(reports) == 1


@EACH_CLIENT
def test_siblings_that_a_cohort_waits_for_are_no_wait(client: Any, liar: LyingServer) -> None:
    """The server answers when the cohort is whole, at the latest at the deadline."""
    reports: list[Report] = []
    liar.reply = lambda *sent: nothing(liar, *sent)
    with client(liar.url, timeout_s=0.4, on_wait=lambda *each: reports.append(each)) as call:
        for deadline_s in (60.0, 0.1):
            assert not reports
            with pytest.raises(TimedOut):
                call("score_in_cohort", "u", "text", group_size=2, deadline_s=deadline_s)
    assert reports


def test_adapters_share_the_connections_of_an_event_loop() -> None:
    """However many groups they score at a time; a service is made for each of them."""

    async def run(url: str) -> list[Any]:
        async def one() -> Any:
            return await RewardService(url, warn=print).score_async([["a", "b", "c"]])

        first = await asyncio.gather(*(one() for _ in range(150)))
        return [*first, await one()]

    counts, scored = served(run)
    assert len(scored) == 151
    assert counts.most_at_once <= 64
    assert counts.connections < len(scored), "each call had a connection of its own"


def test_kept_connections_serve_the_next_batch() -> None:
    async def run(url: str) -> None:
        service = RewardService(url)
        service.keep_connections()
        for _ in range(3):
            await service.score_async([["a", "b", "c"]])

    counts, _ = served(run)
    assert counts.connections == 1


def test_the_batches_of_an_adapter_share_the_interval(
    liar: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some adapters make a client for every batch."""
    monkeypatch.setattr(waits, "REPORT_EVERY_S", 60.0)
    said: list[str] = []
    warn = said.append
    liar.reply = lambda *sent: nothing(liar, *sent)
    for _ in range(3):
        with pytest.raises(TimedOut):
            RewardService(liar.url, timeout_s=0.3, retry_budget_s=0, warn=warn).score([["a", "b"]])
    assert len(said) == 1


def test_clients_with_other_settings_are_not_shared() -> None:
    async def run(url: str) -> int:
        fingerprints, warn = Fingerprints(), ToLogger("x")
        same = Connection(url, None, 1.0, 2.0, fingerprints, warn)
        others = [same._replace(token="t"), same._replace(timeout_s=9.0), same._replace(warn=ToLogger("y"))]
        async with same.shared() as first, Connection(*same).shared() as again:
            assert first is again
            for other in others:
                async with other.shared() as another:
                    assert another is not first
        async with same.shared() as later:
            assert later is not first
        return len(others)

    assert served(run)[1] == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TIMEOUT_S", "soon"),
        ("RETRY_BUDGET_S", "5 min"),
        ("TIMEOUT_S", "nan"),
        ("TIMEOUT_S", "inf"),
        ("TIMEOUT_S", "-1"),
        ("RETRY_BUDGET_S", "NaN"),
        ("RETRY_BUDGET_S", "-inf"),
        ("RETRY_BUDGET_S", "1e999"),
        ("GIVE_UP", "zero"),
        ("GIVE_UP", "none"),
    ],
)
def test_malformed_settings_are_named(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.setenv(f"IREASONER_REWARD_{name}", text)
    with pytest.raises(ValueError, match=f"IREASONER_REWARD_{name} is "):
        RewardService.configured()


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-inf", "-1", "1e999", " "])
def test_a_wait_for_siblings_that_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(GROUP_WAIT_VARIABLE, text)
    with pytest.raises(ValueError, match=f"{GROUP_WAIT_VARIABLE} is "):
        environment_seconds(GROUP_WAIT_VARIABLE, 3600)


@pytest.mark.parametrize(("text", "seconds"), [("", 3600.0), ("0", 0.0), ("1.5", 1.5), ("1e3", 1000.0)])
def test_a_wait_for_siblings_can_be_set(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv(GROUP_WAIT_VARIABLE, text)
    assert environment_seconds(GROUP_WAIT_VARIABLE, 3600) == seconds


def test_time_outs_and_budget_are_two_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    service = RewardService.configured()
    assert (service.timeout_s, service.retry_budget_s, service.give_up) == (120.0, 300.0, "raise")
    monkeypatch.setenv("IREASONER_REWARD_TIMEOUT_S", "7")
    monkeypatch.setenv("IREASONER_REWARD_RETRY_BUDGET_S", "0")
    monkeypatch.setenv("IREASONER_REWARD_GIVE_UP", "none")
    service = RewardService.configured(takes_none=True)
    assert (service.timeout_s, service.retry_budget_s, service.give_up) == (7.0, 0.0, "none")
    assert RewardService.configured(timeout_s=3, retry_budget_s=4, give_up="raise").timeout_s == 3


def test_giving_up_goes_on_only_after_errors_that_may_pass(
    liar: LyingServer, caplog: pytest.LogCaptureFixture
) -> None:
    service = RewardService("http://127.0.0.1:9", give_up="none", retry_budget_s=0, warn=ToLogger("trl"))
    with pytest.raises(Unreachable) as down:
        service.score([["a", "b"]])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        service.given_up(down.value)
    assert [(each.name, each.getMessage()[:26]) for each in caplog.records] == [
        ("trl", "this batch has no rewards:")
    ]
    liar.reply = lambda *_: iter([response(b"{}", "422 No")])
    with pytest.raises(RewardError) as refused:
        RewardService(liar.url, retry_budget_s=0).score([["a", "b"]])
    with pytest.raises(type(refused.value)):
        service.given_up(refused.value)
