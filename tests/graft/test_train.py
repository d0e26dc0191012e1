"""The loop on a grafted checkpoint, with real servers: both roles, the canary, a resume, and the report."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ireasoner.trainer.loop import proposals
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.report import write_report
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.rollout_server.running import running_server
from tests.trainer.training import require_two_updates_of_each_role


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_both_roles_are_trained_published_resumed_and_reported(
    seeing_folder: Path, reward_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights write no question, so one is read in every text; everything else is as it is."""
    monkeypatch.setattr(proposals, "parse_question", lambda text: "What is the sum of row 2?")
    write_unlabelled(tmp_path / "images", 4, seed=0)
    with running_server(seeing_folder, tmp_path / "log.txt") as server:
        fields: dict[str, Any] = {
            "model": str(seeing_folder),
            "images": tmp_path / "images",
            "run_folder": tmp_path / "run",
            "progress_updates": 4,
            "proposer_every": 1,
            "group_size": 3,
            "groups_per_update": 2,
            "save_every": 1,
            "cpu_threads": 1,
            "lora": {"dropout": 0.0},
            "reward": {"url": reward_url, "control": "random"},
            "rollout": {
                "url": server.url,
                "solver_max_tokens": 16,
                "proposer_max_tokens": 16,
                "canary_tolerance": 1e-3,
            },
            "grpo": {"learning_rate": 1e-2, "report_to": "none"},
        }
        train(RunSettings(**fields, updates=2), Console(quiet=True))
        run = train(RunSettings(**fields, updates=4, resume=True), Console(quiet=True))
    for line in require_two_updates_of_each_role(run.path):
        assert 0 <= line[f"{line['role']}/canary_gap"] < 1e-3
    for role in ("solver", "proposer"):
        assert (run.final / role / "adapter_model.safetensors").is_file()
    report = write_report(run.path).read_text(encoding="utf-8")
    assert "What is the sum of row 2?" in report
    assert seeing_folder.name in report
