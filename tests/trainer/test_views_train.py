"""A run with the preset `views` on real parts: vLLM, the reward server, TRL, the tiny model."""

from pathlib import Path

import pytest
from rich.console import Console

from ireasoner.trainer.loop.train import train
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL

PERMUTED = "ireasoner.trainer.worlds.digit_grids.views:row_permuted"


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_train_with_views_makes_two_updates(reward_url: str, rollout_url: str, tmp_path: Path) -> None:
    write_unlabelled(tmp_path / "images", 6, seed=5)
    run = train(
        RunSettings(
            model=str(MODEL),
            images=tmp_path / "images",
            run_folder=tmp_path / "run",
            updates=2,
            proposer_every=0,
            group_size=8,
            groups_per_update=3,
            cpu_threads=1,
            lora={"dropout": 0.0},
            views={"names": ["plain", "mirror", PERMUTED, "paraphrase"], "contrast": "blank"},
            reward={"url": reward_url, "config": "views"},
            rollout={"url": rollout_url, "solver_max_tokens": 64, "proposer_max_tokens": 24},
            grpo={"learning_rate": 3e-3, "report_to": "none"},
        ),
        Console(quiet=True),
    )
    groups = list(read_lines(run.path / "groups.jsonl"))
    assert [group["update"] for group in groups] == [0, 0, 0, 1, 1, 1]
    names = {"plain", "mirror", PERMUTED, "paraphrase"}
    for group in groups:
        views = [rollout["view"] for rollout in group["rollouts"]]
        if group["question"] is None:
            continue
        assert set(views) <= names
        assert [view for position, view in enumerate(views) if position % 2] == views[::2], "two of each"
        assert len(group["contrast"]["texts"]) == 2
        for rollout, share, view in zip(group["rollouts"], group["contrast"]["shares"], views, strict=True):
            assert rollout["status"] in ("ok", "invalid", "abstain")
            if rollout["status"] == "ok":
                votes = [
                    each["answer"] == rollout["answer"]
                    for each, other in zip(group["rollouts"], views, strict=True)
                    if other != view
                ]
                assert rollout["outcome"] <= (sum(votes) / len(votes)) ** 0.7 + 1e-6, "other views judge"
                assert rollout["reward"] == pytest.approx(rollout["outcome"] - share)
    metrics = list(read_lines(run.path / "metrics.jsonl"))
    assert len(metrics) == 2
    assert sum(line["solver/rollouts_trained"] for line in metrics) > 0
    assert all(0 <= line["solver/views_replaced"] <= 0.5 for line in metrics)
    assert all(line.get("solver/logprob_gap/max", 0) < 1e-2 for line in metrics)
    assert (run.path / "final" / "solver" / "adapter_model.safetensors").exists()
