"""Computing the prompt of a group once changes neither the gradient nor log-probabilities."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from PIL import Image
from transformers import AutoConfig, AutoModel, LlavaConfig, LlavaModel

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor, lora_config
from ireasoner.trainer.loop import shared_prompt
from ireasoner.trainer.loop.shared_prompt import PackedOnce, can_pack, pack
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import LoraSettings
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


def test_a_micro_batch_is_packed_once_for_all_its_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass has token ids of its own; another image, or the next micro-batch, is packed anew."""
    seen: list[Any] = []

    def counted(_model: Any, inputs: dict[str, Any], *_: Any) -> Any:
        seen.append(inputs["pixel_values"])
        return object()

    monkeypatch.setattr(shared_prompt, "pack", counted)
    packing, rows = PackedOnce(), torch.zeros(2)
    first = torch.ones(4, 3)
    passes = [first, first, first.flip(0), first, first, first.clone()]
    packed = [
        packing.of(None, {"pixel_values": pixels, "input_ids": torch.zeros(2, 2)}, rows, 1)
        for pixels in passes
    ]
    assert [packed.index(each) for each in packed] == [0, 0, 2, 3, 3, 5]
    assert len(seen) == 4


@pytest.mark.parametrize("on_vision_tower", [False, True])
def test_an_adapter_on_the_vision_tower_gets_its_gradient(on_vision_tower: bool) -> None:
    """As in an ablation of the replication; without one, images are seen once for all passes, without gradient."""
    torch.set_num_threads(1)
    backbone = load_backbone(str(MODEL), "float32")
    shape = lora_config(
        backbone, LoraSettings(r=2, dropout=0.0), within=re.compile("") if on_vision_tower else None
    )
    model = get_peft_model(backbone, shape).get_base_model()
    processor = load_processor(str(MODEL))
    prompt = processor.apply_chat_template(
        solver_messages("Row 1?"), tokenize=False, add_generation_prompt=True
    )
    read = processor(images=[Image.new("RGB", (112, 112))] * 2, text=[prompt + "7", prompt + "8"])
    inputs = {name: torch.as_tensor(value) for name, value in read.items()}
    packed = pack(model.model, {**inputs, "num_images": [1, 1]}, torch.zeros(2, dtype=torch.long), 1)
    with packed.read_by(model.model):
        model.model(**packed.inputs).last_hidden_state.sum().backward()
    moved = {"visual" in name for name, each in model.named_parameters() if each.grad is not None}
    assert moved == ({False, True} if on_vision_tower else {False})
