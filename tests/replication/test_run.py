"""A short run on real parts: vLLM, the reward server, the training loop."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.tiny_model.task import TASKS
from replication.arms import ARMS, Arm
from replication.images import write_images
from replication.run import read_result, run
from replication.settings import TRAINING_SEED
from tests.replication.plan import plan

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

CONFIG = """
updates = 2
save_every = 1
proposer_every = 0
group_size = 4
groups_per_update = 4
cpu_threads = 1
[lora]
r = 8
dropout = 0.0
[rollout]
solver_max_tokens = 64
proposer_max_tokens = 24
"""


OWN = Arm(
    "few-steps",
    "method",
    "fewer steps",
    trainer={"reward": {"function": "tests.replication.own_reward:few_steps"}},
)


@pytest.mark.parametrize(
    "arm",
    [*(ARMS[name] for name in ("true-answers", "images-shuffled", "reference-faithful")), OWN],
    ids=lambda arm: arm.name,
)
def test_a_run_writes_the_figures_of_the_reward_it_was_trained_on(
    arm: Arm, reward_url: str, rollout_url: str, tmp_path: Path
) -> None:
    name = arm.name
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    the_plan = replace(plan(tmp_path), config=config, reward_url=reward_url, rollout_url=rollout_url)
    write_images(the_plan.images_folder, TASKS[the_plan.task].world, the_plan.images, TRAINING_SEED)
    run(arm, 0, the_plan)
    result = read_result(arm, 0, the_plan)
    assert result is not None
    assert {split: len(values["greedy"]) for split, values in result["evaluations"].items()} == {
        "test": 8,
        "held_out_combinations": 4,
    }
    test = result["evaluations"]["test"]
    assert all(0 <= value <= 1 for name, values in test.items() if name != "entropy_nats" for value in values)
    assert result["learning"]["update"] == [1, 2]
    assert result["learning"]["greedy"][1] == test["greedy"]
    assert [len(hits) for hits in result["learning"]["greedy"]] == [8, 8]
    assert result["curves"]["update"] == [1.0, 2.0]
    groups = [
        group for group in read_lines(the_plan.folder(name, 0) / "run" / "groups.jsonl") if group["question"]
    ]
    for group in groups:
        scores = [rollout["reward"] for rollout in group["rollouts"]]
        if name == "true-answers":
            known = group["shadow"]["right"] if "shadow" in group else [None] * len(scores)
            assert group["trained_on"] == known
        elif name == "few-steps":
            assert group["trained_on"] == [
                None if score is None else -len(rollout["steps"])
                for score, rollout in zip(scores, group["rollouts"], strict=True)
            ]
        elif name == "images-shuffled":  # no reward if no other image was asked it
            rewarded = [reward is not None for reward in group["trained_on"]]
            assert rewarded in ([False] * len(scores), [score is not None for score in scores])
        else:
            assert [reward is None for reward in group["trained_on"]] == [score is None for score in scores]
    if name == "images-shuffled":
        assert any(g["trained_on"] != [r["reward"] for r in g["rollouts"]] for g in groups)
    elif name == "true-answers" and any({*group["trained_on"]} == {0.0, 1.0} for group in groups):
        assert result["signal"]["reward_rank_correlation"] == 1.0
    assert json.dumps(result)
