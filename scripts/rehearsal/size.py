"""How large a rehearsal is."""

import signal
from dataclasses import dataclass, field, replace
from typing import Any

from scripts.shapes import SHAPE_3B, SHAPE_SMALL


@dataclass(frozen=True)
class Size:
    """What a rehearsal runs.

    Attributes:
        shape: Dimensions of the model, as fields of its config.
        megapixels: The photos, in 10^6 pixels each.
        max_pixels: The bound to which they are scaled.
        context_tokens: The model context.
        key_value_blocks: Blocks of 32 tokens in the rollout server's cache.
        group_size: Rollouts per group; each update has one group.
        micro_batch_size: Rollouts per forward and backward pass.
        gradient_checkpointing: Whether activations are recomputed in the backward pass, as by default on a GPU.
        solver_max_tokens: Most tokens of an answer.
        proposer_max_tokens: Most tokens of a question.
        threads: torch's threads of each process.
        kills: The signals that end the trainer, each in the middle of an update.
        kill_after_s: Seconds from a checkpoint to the signal.
        deadline_s: Longest time of a start of a server or of the trainer's life.
        merged: Whether the trained adapter is also exported merged into the model.
    """

    shape: dict[str, Any] = field(repr=False)
    megapixels: tuple[float, ...]
    max_pixels: int
    context_tokens: int
    key_value_blocks: int
    group_size: int
    micro_batch_size: int
    gradient_checkpointing: bool
    solver_max_tokens: int
    proposer_max_tokens: int
    threads: int
    kills: tuple[signal.Signals, ...]
    kill_after_s: float
    deadline_s: float
    merged: bool

    def with_layers(self, layers: int) -> "Size":
        """The same with at most so many layers in each tower, for a machine with less memory or time."""
        vision = self.shape["vision_config"]
        depth = min(layers, vision["depth"])
        attending = [index for index in vision["fullatt_block_indexes"] if index < depth] or [depth - 1]
        text = self.shape["text_config"]
        return replace(
            self,
            shape={
                "text_config": {**text, "num_hidden_layers": min(layers, text["num_hidden_layers"])},
                "vision_config": {**vision, "depth": depth, "fullatt_block_indexes": attending},
            },
        )

    @property
    def updates(self) -> int:
        """Two of each role."""
        return 4


LARGE = Size(
    shape=SHAPE_3B,
    megapixels=(12.0, 8.0, 6.0),
    max_pixels=256 * 28 * 28,
    context_tokens=1024,
    key_value_blocks=256,
    group_size=2,
    micro_batch_size=1,
    gradient_checkpointing=True,
    solver_max_tokens=32,
    proposer_max_tokens=24,
    threads=1,
    kills=(signal.SIGTERM, signal.SIGKILL),
    kill_after_s=10.0,
    deadline_s=2400.0,
    merged=True,
)
"""Qwen2.5-VL-3B."""

SMALL = Size(
    shape={
        "text_config": {
            **SHAPE_SMALL["text_config"],
            "vocab_size": 443,
            "hidden_size": 256,
            "intermediate_size": 512,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
        },
        "vision_config": {**SHAPE_SMALL["vision_config"], "out_hidden_size": 256},
    },
    megapixels=(0.3, 0.1),
    max_pixels=16 * 28 * 28,
    context_tokens=512,
    key_value_blocks=256,
    group_size=3,
    micro_batch_size=3,
    gradient_checkpointing=False,
    solver_max_tokens=24,
    proposer_max_tokens=12,
    threads=1,
    kills=(signal.SIGTERM, signal.SIGKILL),
    kill_after_s=0.1,
    deadline_s=240.0,
    merged=False,
)
"""A tiny model, for the tests."""
