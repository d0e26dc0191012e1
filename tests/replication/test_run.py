"""A run on real parts: vLLM, the reward server, the loop; short."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.tiny_model.task import TASKS
from replication.images import write_images
from replication.rows import ROWS, Row
from replication.run import read_result, run
from replication.settings import TRAINING_SEED
from tests.replication.plan import plan

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

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


OWN = Row("few-steps", "method", "fewer steps", variant="tests.replication.own_reward:few_steps")


@pytest.mark.parametrize(
    "row",
    [*(ROWS[name] for name in ("true-answers", "images-shuffled", "reference-faithful")), OWN],
    ids=lambda row: row.name,
)
def test_a_run_ends_with_figures_of_the_reward_that_it_was_trained_on(
    row: Row, reward_url: str, rollout_url: str, tmp_path: Path
) -> None:
    name = row.name
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    there = replace(plan(tmp_path), config=config, reward_url=reward_url, rollout_url=rollout_url)
    write_images(there.images_folder, TASKS[there.task].world, there.images, TRAINING_SEED)
    run(row, 0, there)
    result = read_result(row, 0, there)
    assert result is not None
    assert {exam: len(values["greedy"]) for exam, values in result["examinations"].items()} == {
        "test": 8,
        "held_out_combinations": 4,
    }
    test = result["examinations"]["test"]
    assert all(0 <= value <= 1 for name, values in test.items() if name != "entropy_nats" for value in values)
    assert result["learning"]["update"] == [1, 2]
    assert result["learning"]["greedy"][1] == test["greedy"]
    assert [len(hits) for hits in result["learning"]["greedy"]] == [8, 8]
    assert result["curves"]["update"] == [1.0, 2.0]
    groups = [
        group for group in read_lines(there.folder(name, 0) / "run" / "groups.jsonl") if group["question"]
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
        elif name == "images-shuffled":  # a question that no other image was asked has none
            told = [reward is not None for reward in group["trained_on"]]
            assert told in ([False] * len(scores), [score is not None for score in scores])
        else:
            assert [reward is None for reward in group["trained_on"]] == [score is None for score in scores]
    if name == "images-shuffled":
        assert any(g["trained_on"] != [r["reward"] for r in g["rollouts"]] for g in groups)
    elif name == "true-answers" and any({*group["trained_on"]} == {0.0, 1.0} for group in groups):
        assert result["signal"]["reward_rank_correlation"] == 1.0
    assert json.dumps(result)
