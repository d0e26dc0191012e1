"""Overlap: the next update is collected during training, at most one update stale, and exactly once."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ireasoner.trainer.errors import RolloutServerError
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL
from tests.trainer.offline import OfflineRollouts, answers, offline_settings, offline_trainer

SPREAD = (1, 2, 4, 9)
UPDATES = 6


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_rollouts_are_one_update_stale_and_none_is_lost_or_scored_twice(
    reward_url: str, rollout_url: str, tmp_path: Path
) -> None:
    write_unlabelled(tmp_path / "images", 6, seed=5)
    fields: dict[str, Any] = {
        "model": str(MODEL),
        "images": tmp_path / "images",
        "run_folder": tmp_path / "run",
        "overlap": True,
        "proposer_every": 2,
        "group_size": 4,
        "groups_per_update": 3,
        "save_every": 2,
        "cpu_threads": 1,
        "lora": {"dropout": 0.0},
        "reward": {"url": reward_url},
        "rollout": {"url": rollout_url, "solver_max_tokens": 64, "proposer_max_tokens": 24},
        "grpo": {"learning_rate": 3e-3, "report_to": "none"},
    }
    run = train(RunSettings(**fields, updates=UPDATES), Console(quiet=True))

    groups = list(read_lines(run.path / "groups.jsonl"))
    assert [group["update"] for group in groups] == [update for update in range(UPDATES) for _ in range(3)]
    epochs = [sorted(group["image"] for group in groups[first : first + 6]) for first in range(0, 18, 6)]
    assert all(len(set(epoch)) == 6 for epoch in epochs), "each image once per epoch"
    behind = {
        group["update"]: each["staleness"]
        for group in groups
        for each in group.get("rollouts") or group["proposals"]
    }
    # Updates 2 and 5 train the Proposer. The first update of a role, and one after the other role, is not stale.
    assert behind == {0: 0, 1: 1, 2: 0, 3: 0, 4: 1, 5: 0}
    seeds = Counter(
        rollout["seed"] for group in groups if group["role"] == "solver" for rollout in group["rollouts"]
    )
    assert max(seeds.values()) == 1
    for line in read_lines(run.path / "metrics.jsonl"):
        shares = {name: value for name, value in line.items() if "/time_share/" in name}
        assert set(shares) == {f"{line['role']}/time_share/{part}" for part in ("wait", "train", "publish")}
        assert 0 <= line[f"{line['role']}/rollout_idle_share"] <= 1  # 1: all was sampled in the update before


def test_the_next_update_is_sampled_while_one_is_trained(tmp_path: Path) -> None:
    """Sampling for update 1 starts before update 0 is published; sampling for update 2 starts after that."""
    settings = offline_settings(tmp_path, updates=3, overlap=True, grpo={"report_to": "none"})
    rollouts = OfflineRollouts(answers(SPREAD))
    offline_trainer(settings, rollouts).go()
    solver = [policy[-6:] for policy, _ in rollouts.calls if "solver" in policy]
    assert solver == ["000000", "000000", "000001"]
    trained = [
        group["rollouts"][0]["staleness"] for group in read_lines(settings.run_folder / "groups.jsonl")
    ]
    assert trained == [0, 1, 1]


def test_without_overlap_no_thread_collects(tmp_path: Path) -> None:
    threads: list[str] = []

    class Watched(OfflineRollouts):
        def sample(self, *arguments: Any) -> Any:
            threads.append(threading.current_thread().name)
            return super().sample(*arguments)

    settings = offline_settings(tmp_path, updates=2, grpo={"report_to": "none"})
    offline_trainer(settings, Watched(answers(SPREAD))).go()
    assert set(threads) == {threading.main_thread().name}


def test_an_error_while_collecting_ahead_stops_the_run_when_the_update_is_due(tmp_path: Path) -> None:
    class Failing(OfflineRollouts):
        def sample(self, policy: str, *arguments: Any) -> Any:
            if len([name for name, _ in self.calls if "solver" in name]) == 2:
                raise RolloutServerError("gone")
            return super().sample(policy, *arguments)

    settings = offline_settings(tmp_path, updates=4, overlap=True, grpo={"report_to": "none"})
    with pytest.raises(RolloutServerError, match="gone"):
        offline_trainer(settings, Failing(answers(SPREAD))).go()
    groups = list(read_lines(settings.run_folder / "groups.jsonl"))
    assert [group["update"] for group in groups] == [0, 1]


def test_a_resumed_run_collects_the_next_update_again_and_no_update_twice(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"updates": 4, "overlap": True, "save_every": 1, "grpo": {"report_to": "none"}}

    class Failing(OfflineRollouts):
        def sample(self, policy: str, *arguments: Any) -> Any:
            if policy.endswith("solver-000002"):
                raise RolloutServerError("gone")
            return super().sample(policy, *arguments)

    with pytest.raises(RolloutServerError):
        offline_trainer(offline_settings(tmp_path, **fields), Failing(answers(SPREAD))).go()
    settings = offline_settings(tmp_path, **fields, resume=True)
    offline_trainer(settings, OfflineRollouts(answers(SPREAD))).go()
    groups = list(read_lines(settings.run_folder / "groups.jsonl"))
    assert [group["update"] for group in groups] == [0, 1, 2, 3]
    assert [group["rollouts"][0]["staleness"] for group in groups] == [0, 1, 1, 0]
    assert [line["update"] for line in read_lines(settings.run_folder / "metrics.jsonl")] == [1, 2, 3, 4]
