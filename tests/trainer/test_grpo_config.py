"""Every field of TRL's `GRPOConfig` can be set from the TOML file, and has the effect that TRL documents."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOConfig

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.policy_update import importance_ratio
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings, read_toml
from tests.trainer.offline import Gradients, OfflineRollouts, answers, offline_settings, offline_trainer

pytestmark = pytest.mark.timeout(300)

SPREAD = (1, 2, 4, 9)
MISMATCH_NATS = -0.05
"""Offset of the server's log-probabilities, as another precision might cause it."""


def from_toml(folder: Path, tables: str) -> RunSettings:
    """The settings of a file with the required fields and `tables`."""
    file = folder / "run.toml"
    file.write_text(f'model = "m"\nimages = "i"\nrun_folder = "{folder}"\n{tables}', encoding="utf-8")
    return RunSettings(**read_toml(file))


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


def test_a_field_is_either_passed_on_or_refused_with_a_reason(tmp_path: Path) -> None:
    """No field of TRL is silently dropped: each is passed on, or refused because the trainer sets it."""
    for field in fields(GRPOConfig):
        value = getattr(GRPOConfig(output_dir=str(tmp_path), bf16=False), field.name, None)
        try:
            settings = RunSettings(model="m", images=Path("i"), run_folder=tmp_path, grpo={field.name: value})
        except ValueError as error:
            assert f"grpo.{field.name} is set by the trainer" in str(error)  # noqa: PT017
        else:
            assert settings.grpo == {field.name: value}


def test_a_field_that_trl_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"grpo\.lossType"):
        grpo_config(from_toml(tmp_path, '[grpo]\nlossType = "dapo"'))


def run(folder: Path, offset_nats: float = 0.0, updates: int = 1, **grpo: Any) -> tuple[Gradients, list[Any]]:
    """A short run of the Solver with these fields; returns its gradients and its metrics."""
    gradients = Gradients()
    settings = offline_settings(
        folder,
        updates=updates,
        kl={"mode": "none"},
        grpo={"report_to": "none", "learning_rate": 1e-3, "max_grad_norm": 0.0, **grpo},
    )
    offline_trainer(settings, OfflineRollouts(answers(SPREAD), offset_nats), [gradients]).go()
    return gradients, list(read_lines(settings.run_folder / "metrics.jsonl"))


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
