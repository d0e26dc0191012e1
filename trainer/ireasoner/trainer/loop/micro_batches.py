"""What an update trains on, cut into forward and backward passes.

TRL cuts a batch into equal parts. Here rows that have nothing to teach take no part, so the passes of an update can
be fewer and of unequal size, and each says which share of the update it is.
"""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

Batch = dict[str, Any]
"""Inputs of TRL's loss by name: tensors and lists with an entry a row, and scalars."""


def split_into_passes(
    batch: Batch, teaches: Sequence[bool], rows_per_pass: int, accelerator: Accelerator
) -> list[Batch]:
    """The rows of a batch that teach, in order, in as few passes of at most `rows_per_pass` as hold them.

    Where several processes train, each has a batch of its own, and all make the same passes of the same sizes, since
    they wait for each other in each: a process with fewer rows fills up with rows that count for nothing.

    Args:
        batch: This process's rows.
        teaches: Of each row of all processes, in order, whether it teaches.
        rows_per_pass: Rows of one process.
        accelerator: What tells the processes apart.

    Returns:
        Passes that have, besides what the batch has:
        share: By what the mean over a pass counts in the mean over the processes, so that each row counts alike.
        num_items_in_batch: Completion tokens of all rows of all processes, as a tensor without dimensions.
    """
    if not any(teaches):
        return []
    processes, process = accelerator.num_processes, accelerator.process_index
    size = len(teaches) // processes
    parts = [teaches[first : first + size] for first in range(0, len(teaches), size)]
    rows = [row for row, taught in enumerate(parts[process]) if taught]
    tokens = accelerator.reduce(batch["completion_mask"][rows].sum())
    filled = max(map(sum, parts))
    idle = [len(rows) <= place for place in range(filled)]
    rows += [0] * sum(idle)
    by_row = split_pixel_values_by_grid(batch)
    passes = []
    for part in torch.arange(filled).tensor_split(-(-filled // rows_per_pass)):
        places = part.tolist()
        chosen = {name: _rows(value, [rows[place] for place in places]) for name, value in by_row.items()}
        unused = torch.tensor([idle[place] for place in places], device=chosen["completion_mask"].device)
        chosen["completion_mask"] = chosen["completion_mask"].masked_fill(unused[:, None], 0)
        passes.append(
            {
                **unsplit_pixel_values_by_grid(chosen),
                "num_items_in_batch": tokens,
                "share": len(places) * processes / sum(teaches),
            }
        )
    return passes


def _rows(value: Any, rows: list[int]) -> Any:
    if isinstance(value, torch.Tensor):
        return value[rows] if value.ndim else value
    return [value[row] for row in rows]
