"""Processes that are killed at any time: what was acknowledged a second before is in the ledger, once."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from ireasoner.reward_server.ledger.lock import Lock
from ireasoner.reward_server.ledger.recorder import MODULE
from ireasoner.reward_server.ledger.schema import FILE
from ireasoner.reward_server.ledger.writer_process import drain
from tests.reward_server.ledger_records import names
from tests.reward_server.processes import RunningServer, server
from tests.reward_server.requests import group, rollout

ACKNOWLEDGED_S = 1.0


def writer_of(running: RunningServer) -> psutil.Process:
    """The writer process of a server."""
    while True:
        for child in psutil.Process(running.process.pid).children():
            if MODULE in child.cmdline():
                return child
        time.sleep(0.01)


def post_for(seconds: float, running: RunningServer, trial: int) -> dict[str, float]:
    """Posts groups for so long after the first was acknowledged; returns when each was."""
    acknowledged: dict[str, float] = {}
    with httpx.Client(base_url=running.url, timeout=60) as http:
        while not acknowledged or time.monotonic() < min(acknowledged.values()) + seconds:
            name = f"{trial}-{len(acknowledged)}"
            body = {
                "groups": [group([rollout("7", "east"), rollout("8", "west")], name)],
                "detail": "rewards",
            }
            http.post("/score/solver", json=body).raise_for_status()
            acknowledged[name] = time.monotonic()
    return acknowledged


def check(folder: Path, acknowledged: dict[str, float], killed_s: float) -> None:
    """The ledger is whole, holds each group once, and all that were acknowledged early enough."""
    kept = names(folder)
    assert len(kept) == len(set(kept))
    due = {name for name, at_s in acknowledged.items() if at_s < killed_s - ACKNOWLEDGED_S}
    assert due <= set(kept)
    with closing(sqlite3.connect(folder / FILE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        [(groups,)] = connection.execute("SELECT sum(groups) FROM points WHERE unit <> 'run'")
        assert groups == len(kept)


@pytest.mark.parametrize(
    "trials", [2, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["short", "long"]
)
def test_a_killed_server_leaves_what_it_acknowledged(compass: Path, tmp_path: Path, trials: int) -> None:
    """The writer is killed with its server in every other trial; the next start then commits what it left."""
    folder = tmp_path / "ledger"
    flags = ("--embedder", "token-mean", "--token-mean-checkpoint", str(compass), "--ledger", str(folder))
    moments = random.Random(19)
    acknowledged: dict[str, float] = {}
    for trial in range(trials):
        with server(tmp_path / "log", *flags) as running:
            writer = writer_of(running)
            newest = post_for(ACKNOWLEDGED_S + 0.2 + moments.random(), running, trial)
            running.process.kill()
            killed_s = time.monotonic()
            if trial % 2 == 0:
                writer.kill()
        writer.wait(30)
        if trial % 2 == 0:
            with Lock(folder):
                assert drain(folder, 2**30).fault is None
        assert min(newest.values()) < killed_s - ACKNOWLEDGED_S
        acknowledged |= newest
        check(folder, acknowledged, killed_s)
