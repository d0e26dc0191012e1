"""A group with equal rewards, or without any, is skipped: it costs no forward pass and changes no weight."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.trainer.offline import (
    Gradients,
    OfflineRollouts,
    answers,
    disturb,
    offline_settings,
    offline_trainer,
    reasoning,
)

SPREAD = (1, 2, 4, 9)
FLAT = (5, 5, 5, 5)

pytestmark = pytest.mark.timeout(300)


class Update:
    """A Solver update on groups with these answers."""

    def __init__(self, folder: Path, *groups: Sequence[Any], **fields: Any) -> None:
        self.gradients = Gradients()
        self.settings = offline_settings(folder, groups_per_update=len(groups), **fields)
        self.trainer = offline_trainer(self.settings, OfflineRollouts(answers(*groups)), [self.gradients])
        self.forward_rows = 0
        self.trainer.model.register_forward_pre_hook(self._count, with_kwargs=True)
        disturb(self.trainer.model)
        self.trainer.go()
        [self.gradient] = self.gradients.updates
        [self.metrics] = read_lines(self.settings.run_folder / "metrics.jsonl")

    def _count(self, _module: Any, _args: Any, inputs: dict[str, Any]) -> None:
        rollouts, _ = inputs["attention_mask"]["full_attention"].rollouts
        self.forward_rows += rollouts


def assert_same_gradient(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert any(gradient.abs().max() > 1e-6 for gradient in one.values())
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-3, atol=1e-7, msg=name)


def test_an_update_without_rewards_logs_no_metric_without_a_value(tmp_path: Path) -> None:
    update = Update(tmp_path, ("abstain",) * 4)
    assert update.metrics["solver/no_reward_rate"] == 1
    assert "solver/reward" not in update.metrics
    assert None not in update.metrics.values()


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo", "bnpo"])
def test_a_group_without_spread_costs_no_row_and_leaves_the_gradient_of_the_others(
    tmp_path: Path, loss_type: str
) -> None:
    grpo = {"report_to": "none", "loss_type": loss_type}
    alone = Update(tmp_path / "alone", SPREAD, grpo=grpo)
    beside = Update(tmp_path / "beside", SPREAD, FLAT, ("abstain",) * 4, grpo=grpo)
    assert alone.forward_rows == beside.forward_rows == 2 * len(SPREAD), (
        "the forward passes of reference and policy"
    )
    assert_same_gradient(beside.gradient, alone.gradient)
    assert alone.metrics["solver/no_spread_rate"] == alone.metrics["solver/no_reward_rate"] == 0
    assert beside.metrics["solver/no_spread_rate"] == pytest.approx(1 / 3)
    assert beside.metrics["solver/no_reward_rate"] == pytest.approx(1 / 3)
    assert beside.metrics["solver/rollouts_trained"] == len(SPREAD)
    assert beside.metrics["solver/reward"] == pytest.approx((1.6 + 2.0) / 8), "the metric covers all rewards"
    assert alone.metrics["solver/kl"] > 1e-3
    assert beside.metrics["solver/kl"] == pytest.approx(alone.metrics["solver/kl"], rel=1e-3)


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo"])
def test_the_gradient_does_not_depend_on_the_micro_batches(tmp_path: Path, loss_type: str) -> None:
    """7 rows in micro-batches of at most 3: 3, 2 and 2, and a fourth one that is empty."""
    groups = (SPREAD, FLAT, (1, 2, 3, "abstain"))
    grpo = {"report_to": "none", "loss_type": loss_type}
    whole = Update(tmp_path / "whole", *groups, grpo=grpo)
    cut = Update(tmp_path / "cut", *groups, grpo=grpo, micro_batch_size=3)
    assert whole.forward_rows == cut.forward_rows == 2 * 7
    assert_same_gradient(cut.gradient, whole.gradient)


def test_an_update_without_any_spread_moves_nothing_and_the_run_continues(tmp_path: Path) -> None:
    """The second of three updates has no learning signal: no step, no new version; schedules go on."""
    flat_at = 1
    asked = iter(range(99))

    def say(policy: str, request: int, member: int) -> str:
        if "proposer" in policy:
            return answers()(policy, request, member)
        update = next(asked) // 4
        return reasoning((FLAT if update == flat_at else SPREAD)[member])

    settings = offline_settings(
        tmp_path, updates=3, kl={"mode": "adaptive", "beta": 0.04}, grpo={"report_to": "none"}
    )
    snapshots: list[dict[str, torch.Tensor]] = []

    class Snapshots(Gradients):
        def on_step_end(self, *_: Any, **kwargs: Any) -> None:
            snapshots.append({n: p.detach().clone() for n, p in kwargs["model"].named_parameters()})

    gradients = Snapshots()
    rollouts = OfflineRollouts(say)
    trainer = offline_trainer(settings, rollouts, [gradients])
    trainer.go()
    moved = [
        any((after[name] != before[name]).any() for name in before) for before, after in pairwise(snapshots)
    ]
    assert moved == [False, True]
    assert [bool(gradient) for gradient in gradients.updates] == [True, False, True]
    steps = {int(state["step"]) for state in trainer.optimizer.state.values()}
    assert steps == {2}, "Adam has not counted the update"
    lines = list(read_lines(settings.run_folder / "metrics.jsonl"))
    assert [line["update"] for line in lines] == [1, 2, 3]
    assert lines[1]["solver/no_spread_rate"] == 1
    assert lines[1]["solver/rollouts_trained"] == 0
    assert lines[1]["solver/loss"] == 0
    assert lines[1]["solver/progress"] == 0.5
    betas = [line["solver/kl_coefficient"] for line in lines]
    assert betas[0] != betas[1] == betas[2], "without a measured KL the coefficient stays"
    groups = list(read_lines(settings.run_folder / "groups.jsonl"))
    assert [group["has_spread"] for group in groups] == [True, False, True]
    assert [group["rollouts"][0]["policy"][-6:] for group in groups] == ["000000", "000001", "000001"]
    assert trainer.versions == {"solver": 2, "proposer": 0}


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([0.5, 0.5, 0.5], False),
        ([0.5, 0.5 + 1e-9, None], False),
        ([None, None], False),
        ([0.5, None], False),
        ([0.5, 0.51], True),
        ([], False),
    ],
)
def test_what_has_spread(rewards: list[float | None], expected: bool) -> None:
    group = Group.__new__(Group)
    group.rewards = rewards
    assert group.has_spread is expected
