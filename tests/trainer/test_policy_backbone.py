"""The backbone's precision, and what of its vocabulary is computed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from ireasoner.trainer.adapters.canary import MAX_TOKENS
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.policy_backbone import backbone_dtype, policy_backbone
from ireasoner.trainer.loop.ranks import Ranks
from tests.conftest import MODEL
from tests.trainer.launched import Greedy
from tests.trainer.offline import answers, offline_settings, offline_trainer


@pytest.mark.parametrize(
    ("grpo", "dtype"), [({}, "float32"), ({"bf16": True}, "bfloat16"), ({"bf16": False}, "float32")]
)
def test_bf16_decides_the_precision_of_the_backbone(grpo: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    """On a CPU, the default is float32."""
    config = grpo_config(offline_settings(tmp_path, grpo={"report_to": "none", **grpo}))
    assert backbone_dtype(config) == dtype
    backbone = policy_backbone(str(MODEL), dtype, Ranks(), Console(quiet=True), sharded=False)
    assert {str(parameter.dtype) for parameter in backbone.parameters()} == {f"torch.{dtype}"}


@pytest.mark.timeout(300)
def test_no_logits_of_a_prompt_are_computed(tmp_path: Path) -> None:
    """With a large vocabulary, those of a prompt with a photo would take gigabytes."""
    settings = offline_settings(tmp_path, rollout={"canary_every": 1})
    trainer = offline_trainer(settings, Greedy(answers((1, 2, 4, 9))))
    positions = []
    head = trainer.model.get_base_model().get_output_embeddings()

    def note(_module: Any, _inputs: Any, logits: torch.Tensor) -> None:
        positions.append(logits.shape[1])

    head.register_forward_hook(note)
    trainer.go()
    assert max(positions) == MAX_TOKENS + 1, "the canary's"
