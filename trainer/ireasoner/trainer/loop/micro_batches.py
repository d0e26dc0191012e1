"""An update's rows, cut into micro-batches: one forward and backward pass each.

TRL cuts a batch into equal parts. Here rows without a learning signal are left out, so an update can have fewer
micro-batches of unequal size. Each one records its share of the update.
"""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator

from ireasoner.trainer.loop.trl_internals import (
    Batch,
    split_pixel_values_by_grid,
    unsplit_pixel_values_by_grid,
)


def split_into_micro_batches(
    batch: Batch, trained: Sequence[bool], max_rows: int, accelerator: Accelerator
) -> list[Batch]:
    """Cuts the rows to train, in order, into as few micro-batches of at most `max_rows` as hold them.

    With several processes, each has a batch of its own, and all make micro-batches of the same sizes, because they
    wait for each other in each. A process with fewer rows pads with rows that are masked out.

    Args:
        batch: This process's rows.
        trained: Whether each row of all processes, in order, is trained.
        max_rows: Rows per micro-batch and process.
        accelerator: Identifies the processes.

    Returns:
        Micro-batches with the entries of the batch and
        share: The weight of a mean over the micro-batch in the mean over all processes; every row counts alike.
        num_items_in_batch: Completion tokens of all rows of all processes, as a tensor without dimensions.
    """
    if not any(trained):
        return []
    processes, process = accelerator.num_processes, accelerator.process_index
    size = len(trained) // processes
    parts = [trained[first : first + size] for first in range(0, len(trained), size)]
    rows = [row for row, is_trained in enumerate(parts[process]) if is_trained]
    tokens = accelerator.reduce(batch["completion_mask"][rows].sum())
    filled = max(map(sum, parts))
    is_padding = [index >= len(rows) for index in range(filled)]
    rows += [0] * sum(is_padding)
    by_row = split_pixel_values_by_grid(batch)
    micro_batches = []
    for indices in torch.arange(filled).tensor_split(-(-filled // max_rows)):
        part = indices.tolist()
        chosen = {name: _rows(value, [rows[index] for index in part]) for name, value in by_row.items()}
        padding = torch.tensor([is_padding[index] for index in part], device=chosen["completion_mask"].device)
        chosen["completion_mask"] = chosen["completion_mask"].masked_fill(padding[:, None], 0)
        micro_batches.append(
            {
                **unsplit_pixel_values_by_grid(chosen),
                "num_items_in_batch": tokens,
                "share": len(part) * processes / sum(trained),
            }
        )
    return micro_batches


def _rows(value: Any, rows: list[int]) -> Any:
    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim else value
    return [value[row] for row in rows]
