"""Gauges of the audits of a ledger's runs."""

import asyncio
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ireasoner.reward_server.app import create_app
from ireasoner.reward_server.ledger import audit_metrics, schema
from ireasoner.reward_server.ledger.audit_metrics import AuditMetrics
from ireasoner.reward_server.ledger.auditing import AuditedRun, audit_run
from ireasoner.reward_server.ledger.insert import insert
from ireasoner.reward_server.ledger.ledgers import Ledgers
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.ledger_reading import ENDLESS
from tests.reward_server.ledger_records import record, sent
from tests.reward_server.running import running

MIXED, APART = ["7", "7", "7", "8", "9"], ["7", "7", "1", "2", "3"]


def exposed(metrics: AuditMetrics) -> str:
    registry = CollectorRegistry()
    registry.register(metrics)
    return generate_latest(registry).decode()


def fill(
    folder: Path, experiment: str, source: str, late: list[str], updates: int = 12, at_s: float = 0.0
) -> None:
    connection = schema.open_to_write(folder)
    for update in range(updates):
        group = sent(MIXED if update < updates / 2 else late, question=f"Question {update}?")
        feed = f"{experiment} {source} {update}"
        insert(
            connection,
            record(group, feed=feed, experiment=experiment, source=source, update=update, received_s=at_s),
        )
    connection.close()


def audited(folder: Path) -> AuditMetrics:
    """The metrics after a round of audits."""
    metrics = AuditMetrics(folder)
    metrics.refresh(Ledgers([folder]))
    return metrics


def test_a_collapse_a_fine_run_and_a_short_one(tmp_path: Path) -> None:
    fill(tmp_path, "e", "bad", APART)
    fill(tmp_path, "e", 'goo"d\n', MIXED)
    fill(tmp_path, "f", "short", MIXED, updates=3)
    assert "reward_audit_collapse{" not in exposed(AuditMetrics(tmp_path)), "nothing before the first round"
    shown = exposed(audited(tmp_path))
    assert 'reward_audit_collapse{experiment="e",run="bad"} 1.0' in shown
    assert 'reward_audit_collapse{experiment="e",run="goo\\"d\\n"} 0.0' in shown
    assert 'reward_audit_sign{experiment="e",run="bad",sign="agreement_fell"} 1.0' in shown
    share = r'reward_audit_figure\{experiment="e",figure="dominant_share",run="bad",window="last"\} 0\.4'
    assert re.search(share, shown)
    assert "short" not in shown


def test_a_ledger_without_new_groups_is_not_audited_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "e", "a", MIXED)
    metrics = AuditMetrics(tmp_path)
    rounds: list[int] = []

    def counted(connection: Any, run_id: int, *words: Any, **more: Any) -> AuditedRun:
        rounds.append(run_id)
        return audit_run(connection, run_id, *words, **more)

    monkeypatch.setattr(audit_metrics, "audit_run", counted)
    ledgers = Ledgers([tmp_path])
    metrics.refresh(ledgers)
    metrics.refresh(ledgers)
    assert len(rounds) == 1
    fill(tmp_path, "e", "b", MIXED)
    metrics.refresh(ledgers)
    assert len(rounds) == 3


def test_the_newest_runs_alone_are_shown_and_each_experiment_has_its_share(tmp_path: Path) -> None:
    for index in range(12):
        fill(tmp_path, "crowd", f"run{index}", MIXED, updates=6, at_s=1e9 + index)
    for index in range(20):
        fill(tmp_path, f"e{index}", "run", MIXED, updates=6, at_s=1e8 + index)
    shown = re.findall(r'reward_audit_collapse\{experiment="(\w+)",run="(\w+)"', exposed(audited(tmp_path)))
    assert {run for experiment, run in shown if experiment == "crowd"} == {"run8", "run9", "run10", "run11"}
    assert len(shown) == 16
    assert ("e19", "run") in shown


@pytest.mark.parametrize("folder", [None, Path("none")])
def test_without_a_ledger_there_are_families_and_no_samples(folder: Path | None, tmp_path: Path) -> None:
    shown = exposed(AuditMetrics(None) if folder is None else audited(tmp_path / folder))
    assert "# TYPE reward_audit_collapse gauge" in shown
    assert "{" not in shown


@pytest.mark.parametrize("error", [ValueError("a bug"), sqlite3.OperationalError("locked"), KeyError(1)])
def test_a_round_of_audits_that_fails_ends_neither_the_timer_nor_its_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    metrics = AuditMetrics(tmp_path)
    rounds: list[Ledgers] = []

    def failing(ledgers: Ledgers) -> None:
        rounds.append(ledgers)
        raise error

    async def watch() -> None:
        metrics.start()
        while len(rounds) < 3:
            await asyncio.sleep(0.001)
        await metrics.stop()

    monkeypatch.setattr(metrics, "refresh", failing)
    monkeypatch.setattr(audit_metrics, "PERIOD_S", 0.0)
    asyncio.run(asyncio.wait_for(watch(), 30))


def test_the_end_of_the_server_does_not_wait_for_a_long_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "e", "a", MIXED)
    begun = threading.Event()

    def endless(connection: sqlite3.Connection, *_: Any, **more: Any) -> None:
        begun.set()
        connection.execute(ENDLESS).fetchone()

    async def watch() -> None:
        metrics = AuditMetrics(tmp_path)
        metrics.start()
        await asyncio.to_thread(begun.wait, 30)
        await metrics.stop()

    monkeypatch.setattr(audit_metrics, "audit_run", endless)
    asyncio.run(asyncio.wait_for(watch(), 30))
    assert begun.is_set()
    assert not [each for each in threading.enumerate() if each.name == "ledger reads"]


@pytest.mark.parametrize("failing", ["changes", "audits", "engine", "reads", "recorder", None])
def test_what_cannot_be_stopped_keeps_nothing_else_from_being_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    app = create_app(RewardServerSettings(ledger=tmp_path))
    stopped: list[str] = []

    def stop(name: str, ends: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            stopped.append(name)
            if name == failing:
                raise RuntimeError(name)
            return ends()

        return call

    async def nothing() -> None: ...

    monkeypatch.setattr(app.state.engine, "start", lambda: None)
    monkeypatch.setattr(app.state.engine, "stop", stop("engine", nothing))
    monkeypatch.setattr(app.state.recorder, "start", lambda: None)
    monkeypatch.setattr(app.state.recorder, "stop", stop("recorder", nothing))
    monkeypatch.setattr(AuditMetrics, "start", lambda self: None)
    monkeypatch.setattr(AuditMetrics, "stop", lambda self: stop("audits", nothing)())
    monkeypatch.setattr(app.state.ledger_changes, "close", stop("changes", nothing))
    monkeypatch.setattr(app.state.ledger_reads, "close", stop("reads", nothing))

    async def run() -> None:
        async with app.router.lifespan_context(app):
            pass

    if failing is None:
        asyncio.run(run())
    else:
        with pytest.raises(RuntimeError, match=failing):
            asyncio.run(run())
    assert stopped == ["changes", "audits", "engine", "reads", "recorder"]


def test_a_server_with_a_ledger_exposes_them(tmp_path: Path, compass: Path) -> None:
    fill(tmp_path / "ledger", "e", "bad", APART)
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, ledger=tmp_path / "ledger"
    )
    with running(settings) as url:
        deadline_s = time.monotonic() + 30
        while (shown := httpx.get(f"{url}/metrics").text).count("reward_audit_collapse{") == 0:
            assert time.monotonic() < deadline_s, shown
            time.sleep(0.05)
    assert 'reward_audit_collapse{experiment="e",run="bad"} 1.0' in shown
