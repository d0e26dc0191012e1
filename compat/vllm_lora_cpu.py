"""Has vLLM multiply by an adapter once a batch on a CPU, where it copies the adapter for each token of the batch.

vLLM's operators for a CPU gather a pair of matrices for each token and multiply one vector by each: half of the time
that a small model takes to sample. They also give a token without an adapter (index -1) the last adapter's weights:
https://github.com/vllm-project/vllm/pull/48421. Here the tokens of each adapter make one matrix product, and a token
without one is left as it is.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def multiply_by_adapter(operators: ModuleType) -> None:
    """Replace the three operators that all others of the module call."""
    operators.__dict__.update(bgmv_shrink=shrink, bgmv_expand=expand, bgmv_expand_slice=expand_slice)


def shrink(
    inputs: "Tensor", weights: "Tensor", output: "Tensor", indices: "Tensor", scaling: float = 1.0
) -> None:
    """Sets `output` (tokens, rank) to `scaling` times `inputs` (tokens, features) times each token's matrix A.

    Args:
        inputs: Shape (tokens, features).
        weights: A of every slot, shape (slots, [1,] rank, features).
        output: Shape (tokens, at least rank); rows of tokens without an adapter become 0.
        indices: The slot of each token, -1 for none; may be longer than there are tokens.
        scaling: A factor.
    """
    rank = weights.shape[-2]
    for rows, matrix in _by_adapter(weights, indices[: inputs.shape[0]]):
        product = 0.0 if matrix is None else _product(inputs[rows], matrix, output).mul_(scaling)
        output[rows, :rank] = product


def expand(
    inputs: "Tensor", weights: "Tensor", output: "Tensor", indices: "Tensor", add_inputs: bool = True
) -> None:
    """`expand_slice` from the first feature on, as many as output and adapter both have."""
    expand_slice(
        inputs, weights, output, indices, 0, min(output.shape[1], weights.shape[-2]), add_inputs=add_inputs
    )


def expand_slice(
    inputs: "Tensor",
    weights: "Tensor",
    output: "Tensor",
    indices: "Tensor",
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """Adds `inputs` (tokens, rank) times each token's matrix B to a slice of `output`, or puts it there.

    Args:
        inputs: Shape (tokens, rank).
        weights: B of every slot, shape (slots, [1,] features, rank).
        output: Shape (tokens, all features); rows of tokens without an adapter are left as they are where the product
            is added, and become 0 where it is put.
        indices: The slot of each token, -1 for none; may be longer than there are tokens.
        slice_offset: The first feature of the slice.
        slice_size: How many it has.
        add_inputs: Whether to add to what is there.
    """
    part = output[:, slice_offset : slice_offset + slice_size]
    for rows, matrix in _by_adapter(weights, indices[: inputs.shape[0]]):
        if matrix is None:
            if not add_inputs:
                part[rows] = 0.0
            continue
        product = _product(inputs[rows], matrix[:slice_size], output)
        if add_inputs:
            part[rows] += product
        else:
            part[rows] = product


def _by_adapter(weights: "Tensor", indices: "Tensor") -> "Iterator[tuple[slice | Tensor, Tensor | None]]":
    """The tokens of each adapter with its matrix, those without one with None; a slice where all have the same."""
    slots = sorted(set(indices.tolist()))
    for slot in slots:
        rows = slice(0, len(indices)) if len(slots) == 1 else (indices == slot).nonzero()[:, 0]
        yield rows, None if slot < 0 else weights[slot].reshape(weights.shape[-2:])


def _product(inputs: "Tensor", matrix: "Tensor", output: "Tensor") -> "Tensor":
    return inputs.to(output.dtype) @ matrix.to(output.dtype).T
