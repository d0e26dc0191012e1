"""Every field of TRL's `GRPOConfig` can be set from the TOML file, and has the effect that TRL documents."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOConfig

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.grpo_fields import AT_LEAST_0, AT_MOST_1, CHOICES, PASSED, REFUSED
from ireasoner.trainer.loop.policy_update import importance_ratio
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings, read_toml
from tests.trainer.offline import Gradients, OfflineRollouts, answers, offline_settings, offline_trainer

pytestmark = pytest.mark.timeout(300)

SPREAD = (1, 2, 4, 9)
MISMATCH_NATS = -0.05
"""Offset of the server's log-probabilities, as another precision might cause it."""


def settings(folder: Path, **grpo: Any) -> RunSettings:
    return RunSettings(model="m", images=Path("i"), run_folder=folder, updates=10, grpo=grpo)


def from_toml(folder: Path, tables: str) -> RunSettings:
    """The settings of a file with the required fields and `tables`."""
    file = folder / "run.toml"
    file.write_text(f'model = "m"\nimages = "i"\nrun_folder = "{folder}"\n{tables}', encoding="utf-8")
    return RunSettings(**read_toml(file))


def test_a_mixture_of_experts_gets_no_auxiliary_loss(tmp_path: Path) -> None:
    assert grpo_config(settings(tmp_path)).router_aux_loss_coef == 0
    with pytest.raises(
        SettingsError, match=r"grpo\.router_aux_loss_coef cannot be set: the router .* is frozen"
    ):
        grpo_config(settings(tmp_path, router_aux_loss_coef=0.1))


def test_fields_of_trl_are_set_from_the_file_unchanged(tmp_path: Path) -> None:
    config = grpo_config(
        from_toml(
            tmp_path,
            """
            [grpo]
            loss_type = "dr_grpo"
            scale_rewards = "none"
            epsilon = 0.1
            epsilon_high = 0.28
            learning_rate = 2e-5
            lr_scheduler_type = "cosine_with_min_lr"
            lr_scheduler_kwargs = { min_lr_rate = 0.1 }
            warmup_steps = 10
            max_grad_norm = 0.5
            mask_truncated_completions = true
            report_to = ["none"]
            """,
        )
    )
    assert (config.loss_type, config.scale_rewards) == ("dr_grpo", "none")
    assert (config.epsilon, config.epsilon_high) == (0.1, 0.28)
    assert (config.learning_rate, config.warmup_steps, config.max_grad_norm) == (2e-5, 10, 0.5)
    assert config.lr_scheduler_type == "cosine_with_min_lr"
    assert config.lr_scheduler_kwargs == {"min_lr_rate": 0.1}
    assert config.mask_truncated_completions


def test_every_field_is_either_passed_on_or_refused() -> None:
    """A field that a new TRL adds is in neither list, and fails here until someone decides."""
    names = {field.name for field in fields(GRPOConfig)}
    assert PASSED | REFUSED.keys() == names
    assert not PASSED & REFUSED.keys()
    assert CHOICES.keys() | AT_LEAST_0 | AT_MOST_1 <= PASSED


def test_a_refused_field_is_refused_with_its_reason(tmp_path: Path) -> None:
    for name, reason in REFUSED.items():
        with pytest.raises(SettingsError) as raised:
            grpo_config(settings(tmp_path, **{name: True}))
        assert str(raised.value) == f"grpo.{name} {reason}"


@pytest.mark.parametrize(
    ("grpo", "message"),
    [
        ({"save_only_model": True}, "grpo.save_only_model cannot be set: a checkpoint without"),
        ({"sync_ref_model": True}, "grpo.sync_ref_model cannot be set: the KL reference is the base model"),
        ({"beta": 0.1}, "grpo.beta is set by the trainer: use kl.beta instead"),
        ({"eval_strategy": "steps"}, "grpo.eval_strategy has no effect: use `ireasoner evaluate`"),
        ({"dataloader_num_workers": 2}, "grpo.dataloader_num_workers has no effect in this loop"),
        ({"lossType": "dapo"}, "grpo.lossType: TRL's GRPOConfig has no such field; did you mean loss_type?"),
        ({"zzzz": 1}, "has no such field; its fields are adam_beta1,"),
        ({"loss_type": "gspo"}, "grpo.loss_type must be one of bnpo, cispo, dapo, dr_grpo, grpo,"),
        ({"loss_type": "dapoo"}, "not 'dapoo'; did you mean dapo?"),
        ({"loss_type": ["dapo"]}, "grpo.loss_type must be one of"),
        ({"scale_rewards": "grp"}, "grpo.scale_rewards must be one of batch, group, none"),
        ({"importance_sampling_level": "word"}, "grpo.importance_sampling_level must be one of"),
        ({"vllm_importance_sampling_mode": "token"}, "grpo.vllm_importance_sampling_mode must be one of"),
        ({"learning_rate": "fast"}, "grpo.learning_rate: Input should be a valid number"),
        ({"learning_rate": None}, "grpo.learning_rate: Input should be a valid number"),
        ({"learning_rate": -1}, "grpo.learning_rate must be at least 0, not -1"),
        ({"epsilon": -0.1}, "grpo.epsilon must be at least 0"),
        ({"top_entropy_quantile": 2}, "grpo.top_entropy_quantile must be at most 1"),
        ({"adam_beta1": 1.0}, "grpo.optim: Invalid beta parameter"),
        ({"gradient_checkpointing": "maybe"}, "grpo.gradient_checkpointing: Input should be a valid boolean"),
        ({"optim": "adamww"}, "adamww is not a valid OptimizerNames"),
        ({"optim": "adamw_bnb_8bit"}, "grpo.optim: You need to install `bitsandbytes`"),
        ({"lr_scheduler_type": "cosin"}, "cosin is not a valid SchedulerType"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "grpo.lr_scheduler_type: One of min_lr or min_lr_rate"),
        ({"report_to": ["wandbb"]}, "grpo.report_to: wandbb is not supported"),
        ({"deepspeed": "{bad"}, "grpo: "),
        (
            {"loss_type": "vespo", "vllm_importance_sampling_correction": True},
            'grpo.loss_type = "vespo" needs a token_* vllm_importance_sampling_mode',
        ),
    ],
)
def test_what_would_fail_later_is_refused_at_once(grpo: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        grpo_config(settings(tmp_path, **grpo))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("grpo", "name", "value"),
    [
        ({"learning_rate": "1e-5"}, "learning_rate", 1e-5),
        ({"gradient_checkpointing": "no"}, "gradient_checkpointing", False),
        ({"scale_rewards": False}, "scale_rewards", "none"),
        ({"report_to": "none"}, "report_to", []),
        ({"warmup_steps": 0.1}, "warmup_steps", 0.1),
        ({"optim": "sgd"}, "optim", "sgd"),
        ({"loss_type": "vespo"}, "loss_type", "vespo"),
    ],
)
def test_values_are_passed_on_in_the_types_of_trl(
    grpo: dict[str, Any], name: str, value: object, tmp_path: Path
) -> None:
    assert getattr(grpo_config(settings(tmp_path, **grpo)), name) == value


def run(folder: Path, offset_nats: float = 0.0, updates: int = 1, **grpo: Any) -> tuple[Gradients, list[Any]]:
    """A short run of the Solver with these fields; returns its gradients and its metrics."""
    gradients = Gradients()
    run_settings = offline_settings(
        folder,
        updates=updates,
        kl={"mode": "none"},
        grpo={"report_to": "none", "learning_rate": 1e-3, "max_grad_norm": 0.0, **grpo},
    )
    offline_trainer(run_settings, OfflineRollouts(answers(SPREAD), offset_nats), [gradients]).go()
    return gradients, list(read_lines(run_settings.run_folder / "metrics.jsonl"))


def scale(one: Gradients, other: Gradients) -> float:
    """The ratio of the gradients' norms; both must have the same direction."""
    flat = [torch.cat([g.flatten() for g in each.updates[0].values()]) for each in (one, other)]
    assert torch.cosine_similarity(flat[0], flat[1], dim=0) > 0.999
    return float(flat[0].norm() / flat[1].norm())


def test_the_loss_type_shapes_the_gradient(tmp_path: Path) -> None:
    """All completions are 27 tokens long, so each loss is a multiple of the plain one."""
    plain, _ = run(tmp_path / "grpo")
    dapo, _ = run(tmp_path / "dapo", loss_type="dapo")
    dr_grpo, _ = run(tmp_path / "dr_grpo", loss_type="dr_grpo")
    assert scale(dapo, plain) == pytest.approx(1, rel=1e-3)
    assert scale(dr_grpo, plain) == pytest.approx(27 / 256, rel=1e-3)


def test_the_learning_rate_follows_its_schedule(tmp_path: Path) -> None:
    _, metrics = run(tmp_path, updates=4, lr_scheduler_type="linear")
    assert [line["solver/learning_rate"] for line in metrics] == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4])


def test_the_correction_changes_the_loss_only_if_log_probabilities_differ(tmp_path: Path) -> None:
    """A token's loss is weighed by the ratio of its trained to its sampled probability, at most `clip_max`."""
    correction: dict[str, Any] = {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 1.02,
    }
    plain, _ = run(tmp_path / "plain")
    agreeing, metrics = run(tmp_path / "agreeing", **correction)
    assert scale(agreeing, plain) == pytest.approx(1, rel=1e-3)
    assert metrics[0]["solver/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-3)
    differing, metrics = run(tmp_path / "differing", MISMATCH_NATS, **correction)
    assert metrics[0]["solver/logprob_gap/mean"] == pytest.approx(-MISMATCH_NATS, rel=0.01)
    assert metrics[0]["solver/importance_sampling_ratio/mean"] == pytest.approx(1.02)
    assert scale(differing, plain) == pytest.approx(1.02, rel=1e-3), (
        "exp(0.05) = 1.051, and the bound is 1.02"
    )


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token_truncate", [[0.5, 3.0, 1.0], [1.0, 1.0, 1.0]]),
        ("token_mask", [[0.5, 0.0, 1.0], [1.0, 1.0, 1.0]]),
        ("sequence_truncate", [[2.0], [1.0]]),
        ("sequence_mask", [[2.0], [1.0]]),
    ],
)
def test_the_ratio_is_bounded_as_trl_does_it(mode: str, expected: list[list[float]]) -> None:
    """Row 0 has ratios 1/2, 4 and, masked, anything; row 1 agrees."""
    config = GRPOConfig(
        output_dir="unused",
        bf16=False,
        vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_max=3.0,
    )
    trained = torch.tensor([[0.5, 4.0, 9.0], [1.0, 1.0, 1.0]]).log()
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    ratio = importance_ratio(trained, torch.zeros(2, 3), mask, config)
    assert ratio == pytest.approx(torch.tensor(expected))
