"""Replicas on one machine: each records into a ledger of its own."""

import asyncio
from pathlib import Path

import pytest

from ireasoner.reward_server.ledger.schema import LedgerUnusable
from ireasoner.reward_server.ray_serve import create_replica
from ireasoner.reward_server.settings import RewardServerSettings


def test_each_replica_takes_the_first_free_folder(compass: Path, tmp_path: Path) -> None:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, ledger=tmp_path / "ledger"
    )
    apps = [create_replica(settings, lambda error: None) for _ in range(3)]
    folders = [app.state.recorder.folder.name for app in apps]
    assert folders == ["replica-0", "replica-1", "replica-2"]
    asyncio.run(apps[1].state.recorder.stop())
    assert create_replica(settings, lambda error: None).state.recorder.folder.name == "replica-1"


def test_without_a_ledger_a_replica_records_nothing(compass: Path) -> None:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    assert create_replica(settings, lambda error: None).state.recorder is None


def test_a_folder_that_cannot_be_written_ends_the_replica(compass: Path) -> None:
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, ledger=Path("/proc/ledger")
    )
    with pytest.raises(LedgerUnusable, match="cannot be written"):
        create_replica(settings, lambda error: None)
