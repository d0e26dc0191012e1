"""The moving baseline as the advantage estimator: its values, its state, and the groups that it trains."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from ireasoner.trainer.loop.moving_baseline import MovingBaseline
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.run_folder.checkpoint import read_state
from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.trainer.offline import OfflineRollouts, answers, offline_settings, offline_trainer

pytestmark = pytest.mark.timeout(300)

SPREAD = (1, 2, 4, 9)
FLAT = (5, 5, 5, 5)


def test_advantages_are_rewards_minus_the_baseline_which_moves_after_them() -> None:
    baseline = MovingBaseline()
    assert baseline.advantages("solver", [0.2, 0.4, 1.0, 0.0]) == [0.2, 0.4, 1.0, 0.0]
    assert baseline.values == {"solver": pytest.approx(0.1 * 0.4), "proposer": 0.0}
    assert baseline.advantages("solver", [0.54, None, 0.04]) == pytest.approx([0.5, 0.0, 0.0])
    assert baseline.values["solver"] == pytest.approx(0.9 * 0.04 + 0.1 * 0.29)
    assert baseline.advantages("proposer", [1.0, 0.5]) == [1.0, 0.5], "each role has a baseline of its own"


def test_rollouts_without_a_reward_leave_the_baseline_alone() -> None:
    baseline = MovingBaseline()
    baseline.advantages("solver", [1.0])
    before = dict(baseline.values)
    assert baseline.advantages("solver", [None, None]) == [0.0, 0.0]
    assert baseline.values == before


def test_the_order_of_rollouts_changes_neither_advantages_nor_baseline() -> None:
    rewards = (0.1, 0.2, 0.7, 1 / 3)
    results = set()
    for order in permutations(rewards):
        baseline = MovingBaseline()
        baseline.restore({"solver": 0.3, "proposer": 0.0})
        by_reward = dict(zip(order, baseline.advantages("solver", order), strict=True))
        results.add((tuple(by_reward[reward] for reward in rewards), baseline.values["solver"]))
    assert len(results) == 1


def trained(folder: Path, *groups: Sequence[Any], **fields: Any) -> tuple[ProposerSolverTrainer, list[Any]]:
    settings = offline_settings(folder, groups_per_update=len(groups), advantage="moving_baseline", **fields)
    trainer = offline_trainer(settings, OfflineRollouts(answers(*groups)))
    trainer.go()
    return trainer, list(read_lines(settings.run_folder / "metrics.jsonl"))


def test_groups_without_spread_are_trained_and_groups_without_reward_are_not(tmp_path: Path) -> None:
    trainer, [line] = trained(tmp_path, SPREAD, FLAT, ("abstain",) * 4)
    assert line["solver/rollouts_trained"] == 8
    assert line["solver/no_spread_rate"] == pytest.approx(1 / 3)
    assert line["solver/no_reward_rate"] == pytest.approx(1 / 3)
    [inputs] = trainer.micro_batches
    assert inputs["advantages"].tolist() == pytest.approx([0.1, 0.2, 0.4, 0.9, 0.5, 0.5, 0.5, 0.5])
    assert trainer.baselines.values["solver"] == pytest.approx(0.1 * (1.6 + 2.0) / 8)


def test_a_rollout_without_a_reward_is_not_trained_on_and_does_not_move_the_baseline(tmp_path: Path) -> None:
    trainer, [line] = trained(tmp_path, (1, "abstain", 4, 9), ("abstain", 5, 5, "abstain"))
    assert line["solver/rollouts_trained"] == 5
    [inputs] = trainer.micro_batches
    assert inputs["advantages"].tolist() == pytest.approx([0.1, 0.4, 0.9, 0.5, 0.5])
    assert trainer.baselines.values["solver"] == pytest.approx(0.1 * (1.4 + 1.0) / 5)


def test_unscaled_group_advantages_differ_from_scaled_ones_by_the_spread_alone(tmp_path: Path) -> None:
    def update(name: str, **grpo: Any) -> tuple[Any, float]:
        settings = offline_settings(tmp_path / name, groups_per_update=3, grpo={"report_to": "none", **grpo})
        trainer = offline_trainer(
            settings, OfflineRollouts(answers(SPREAD, FLAT, (1, "abstain", 4, "abstain")))
        )
        trainer.go()
        [line] = read_lines(settings.run_folder / "metrics.jsonl")
        [inputs] = trainer.micro_batches
        return inputs, line["solver/rollouts_trained"]

    scaled, rows = update("scaled")
    unscaled, same_rows = update("unscaled", scale_rewards="none")
    assert rows == same_rows == 6, "without spread, a group is left out under both"
    spreads = torch.tensor([torch.tensor(group).std() for group in ((0.1, 0.2, 0.4, 0.9), (0.1, 0.4))])
    assert unscaled["advantages"].tolist() == pytest.approx([-0.3, -0.2, 0.0, 0.5, -0.15, 0.15])
    torch.testing.assert_close(
        scaled["advantages"],
        unscaled["advantages"] / (spreads.repeat_interleave(torch.tensor([4, 2])) + 1e-4),
    )
    others = scaled.keys() - {"advantages"}
    assert others == unscaled.keys() - {"advantages"}
    for key in others:
        torch.testing.assert_close(scaled[key], unscaled[key])


def test_the_next_update_uses_the_baseline_of_the_one_before(tmp_path: Path) -> None:
    trainer, _ = trained(tmp_path, SPREAD, updates=2)
    [inputs] = trainer.micro_batches
    assert inputs["advantages"].tolist() == pytest.approx([0.06, 0.16, 0.36, 0.86])


def test_the_table_of_completions_shows_the_trained_advantages(tmp_path: Path) -> None:
    grpo = {"report_to": "none", "log_completions": True, "num_completions_to_print": 1}
    trainer, _ = trained(tmp_path, SPREAD, updates=2, grpo=grpo)
    assert list(trainer._logs["advantages"]) == pytest.approx([0.06, 0.16, 0.36, 0.86])


def test_a_resumed_run_continues_with_the_baseline_of_its_checkpoint(tmp_path: Path) -> None:
    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = True

    def run(name: str, callbacks: Sequence[TrainerCallback] = (), **fields: Any) -> ProposerSolverTrainer:
        settings = offline_settings(
            tmp_path / name, updates=3, save_every=1, advantage="moving_baseline", **fields
        )
        trainer = offline_trainer(settings, OfflineRollouts(answers(SPREAD)), callbacks)
        trainer.go()
        return trainer

    whole = run("whole")
    stopped = run("stopped", [Stop()])
    newest = stopped.checkpoints.newest()
    assert newest is not None
    assert read_state(newest).moving_baselines["solver"] == pytest.approx(0.1 * 0.4)
    resumed = run("stopped", resume=True)
    assert resumed.baselines.values == whole.baselines.values
    pairs = zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True)
    assert [name for (name, one), (_, other) in pairs if not torch.equal(one, other)] == []
