"""Computing the prompt of a group once changes neither the gradient nor log-probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, LlavaConfig, LlavaModel

from ireasoner.trainer.loop.shared_prompt import can_pack
from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.conftest import MODEL
from tests.trainer.offline import (
    Gradients,
    OfflineRollouts,
    disturb,
    offline_settings,
    offline_trainer,
    reasoning,
)

QUESTIONS = (
    "What is the sum of row 2?",
    "What is the sum of the main diagonal, counted from the left?",
    "Row 1?",
)
ANSWERS = ((1, 2, 4, 9), (3, 3, 7, "abstain"), (5, 12, 5, 1))

pytestmark = pytest.mark.timeout(300)


def say(policy: str, request: int, member: int) -> str:
    """Prompts of different lengths, and completions of different lengths."""
    if "proposer" in policy:
        return f"<question>{QUESTIONS[request]}</question>"
    return reasoning(ANSWERS[request][member]) + " Done." * member


class Update:
    """A Solver update, and the tokens that the backbone read in all its forward passes."""

    def __init__(self, folder: Path, **grpo: Any) -> None:
        gradients = Gradients()
        settings = offline_settings(
            folder, groups_per_update=len(QUESTIONS), grpo={"report_to": "none", **grpo}, micro_batch_size=6
        )
        trainer = offline_trainer(settings, OfflineRollouts(say), [gradients])
        self.tokens = 0
        trainer.model.get_base_model().model.register_forward_pre_hook(self._count, with_kwargs=True)
        disturb(trainer.model)
        trainer.go()
        [self.gradient] = gradients.updates
        [self.metrics] = read_lines(settings.run_folder / "metrics.jsonl")

    def _count(self, _module: Any, _args: Sequence[Any], inputs: dict[str, Any]) -> None:
        self.tokens += inputs["input_ids"].numel()


def test_a_prompt_that_is_computed_once_changes_neither_gradient_nor_log_probabilities(
    tmp_path: Path,
) -> None:
    shared = Update(tmp_path / "shared")
    repeated = Update(tmp_path / "repeated", gradient_checkpointing=True)
    assert shared.tokens < 0.8 * repeated.tokens
    assert any(gradient.abs().max() > 1e-4 for gradient in shared.gradient.values())
    for name, gradient in repeated.gradient.items():
        torch.testing.assert_close(shared.gradient[name], gradient, rtol=1e-3, atol=1e-6, msg=name)
    assert shared.metrics["solver/logprob_gap/max"] < 1e-4, "they equal those of each rollout computed alone"
    for name in ("solver/kl", "solver/entropy", "loss"):
        assert shared.metrics.get(name, 0) == pytest.approx(repeated.metrics.get(name, 0), rel=1e-3, abs=1e-6)
    assert shared.metrics["solver/kl"] > 1e-3


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"layer_types": ["full_attention", "sliding_attention"]}, False),
        ({"attention_dropout": 0.1}, False),
    ],
)
def test_layers_that_see_less_read_no_packed_rows(changed: dict[str, Any], expected: bool) -> None:
    with torch.device("meta"):
        backbone = AutoModel.from_config(AutoConfig.from_pretrained(MODEL))
    for name, value in changed.items():
        setattr(backbone.config.get_text_config(), name, value)
    assert can_pack(backbone) == expected


def test_a_backbone_that_counts_positions_otherwise_reads_no_packed_rows() -> None:
    with torch.device("meta"):
        assert not can_pack(LlavaModel(LlavaConfig()))
