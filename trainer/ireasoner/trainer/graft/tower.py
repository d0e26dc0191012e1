"""Trains the vision tower to give, for each cell of a grid, the language model's own embedding of the digit in it.

The loss is the squared distance to that embedding, so no forward pass of the language model is needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from transformers import get_cosine_schedule_with_warmup

from ireasoner.trainer.graft.text_model import digit_token_ids
from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import Grid, random_grids, rewritten_grids

_GRIDS_PER_UPDATE = 16
_LEARNING_RATE = 2.5e-3
_WARM_UP = 0.05
_WEIGHT_DECAY = 0.05
_GRIDS_PER_BATCH = 100


@dataclass(frozen=True)
class Reading:
    """How well a tower reads.

    Attributes:
        cells: Number of handwritten digits that it never saw in training.
        accuracy: Share of them whose image token is nearest to the embedding of the right digit.
    """

    cells: int
    accuracy: float

    def __str__(self) -> str:
        return f"reads {self.accuracy:.1%} of {self.cells:,} held-out handwritten digits"


def digit_embeddings(model: Any, tokenizer: Any) -> torch.Tensor:
    """The language model's embeddings of the digits 0 to 9, (10, D) float32."""
    ids = torch.tensor(digit_token_ids(tokenizer))
    weight: torch.Tensor = model.get_input_embeddings().weight.detach()
    return weight[ids].float()


def train_tower(
    model: Any, processor: Any, updates: int, seed: int, advance: Callable[[], object] = lambda: None
) -> None:
    """Trains the tower in place.

    Args:
        model: The grafted model; its tower keeps its dtype, and is trained in float32.
        processor: Its processor.
        updates: Number of updates, of 16 grids each.
        seed: Seed of the grids.
        advance: Called after each update.
    """
    tower, dtype = model.model.visual, model.dtype
    targets = digit_embeddings(model, processor.tokenizer)
    scale = targets.var(dim=0, correction=0).mean()
    grids = rewritten_grids(load_digits_part("warm-start"), np.random.default_rng(seed))
    tower.float().train()
    optimizer = torch.optim.AdamW(
        tower.parameters(), lr=_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=_WEIGHT_DECAY
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, round(_WARM_UP * updates), updates)
    for _ in range(updates):
        drawn = list(islice(grids, _GRIDS_PER_UPDATE))
        loss = (_see(tower, processor, drawn) - targets[_digits(drawn)]).square().mean() / scale
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        advance()
    tower.to(dtype).eval()


@torch.inference_mode()
def read_held_out(model: Any, processor: Any, grids: int = 400) -> Reading:
    """Reads `grids` grids of handwritten digits that no training used."""
    targets = digit_embeddings(model, processor.tokenizer)
    drawn = list(random_grids(load_digits_part("held-out"), grids, seed=0))
    right: list[bool] = []
    for start in range(0, grids, _GRIDS_PER_BATCH):
        batch = drawn[start : start + _GRIDS_PER_BATCH]
        seen = _see(model.model.visual, processor, batch).float()
        right += (torch.cdist(seen, targets).argmin(dim=1) == _digits(batch)).tolist()
    return Reading(len(right), float(np.mean(right)))


def _see(tower: Any, processor: Any, grids: Sequence[Grid]) -> torch.Tensor:
    """The image tokens of B grids, (9 B, D), cell by cell."""
    inputs = processor.image_processor([grid.image for grid in grids], return_tensors="pt")
    pixels = inputs["pixel_values"].to(tower.dtype)
    seen: torch.Tensor = tower(pixels, grid_thw=inputs["image_grid_thw"]).pooler_output
    return seen


def _digits(grids: Sequence[Grid]) -> torch.Tensor:
    """The digits of B grids, (9 B,), in the order of `_see`."""
    return torch.tensor([grid.digits for grid in grids]).flatten()
