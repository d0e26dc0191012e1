"""Makes vLLM apply an adapter with one matrix product per batch on a CPU, instead of one copy of it per token.

vLLM's CPU operators gather a pair of matrices for each token and multiply one vector by each, which is half of the time
that a small model needs to sample. They also apply the last adapter to tokens without an adapter (index -1):
https://github.com/vllm-project/vllm/pull/48421. Here the tokens of each adapter share one matrix product, and tokens
without an adapter stay unchanged. Where a whole batch has one adapter, a layer adds it by two products per slice.
"""

from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from torch import Tensor, dtype

_NONE = -1
"""The slot of a token without an adapter."""


def multiply_by_adapter(operators: ModuleType) -> None:
    """Replaces the three operators that all others of the module call."""
    operators.__dict__.update(bgmv_shrink=shrink, bgmv_expand=expand, bgmv_expand_slice=expand_slice)


def add_at_once(wrapper: ModuleType) -> None:
    """Lets the wrapper's layers add the adapter of a whole batch in place; batches of several go the wrapper's way."""
    general = wrapper.PunicaWrapperCPU.add_lora_linear

    def add_lora_linear(
        self: "Any",
        y: "Tensor",
        x: "Tensor",
        lora_a_stacked: "Sequence[Tensor]",
        lora_b_stacked: "Sequence[Tensor]",
        scale: float,
        output_slices: "Sequence[int]",
        **rest: "Any",
    ) -> None:
        counts = _tokens(tuple(self.token_lora_indices[: x.shape[0]].tolist())).counts
        if len(counts) == 1 and x.dtype == y.dtype == lora_b_stacked[0].dtype:
            add_adapter(counts[0][0], y, x, lora_a_stacked, lora_b_stacked, scale, output_slices)
        else:
            general(self, y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, **rest)

    wrapper.PunicaWrapperCPU.add_lora_linear = add_lora_linear


def add_adapter(
    slot: int,
    output: "Tensor",
    inputs: "Tensor",
    a_weights: "Sequence[Tensor]",
    b_weights: "Sequence[Tensor]",
    scale: float,
    output_slices: "Sequence[int]",
) -> None:
    """Adds to each slice of `output` `scale` times `inputs` times A times B of one adapter; all have one dtype.

    Args:
        slot: The adapter's; -1 for none, which adds nothing.
        output: Shape (tokens, the sum of `output_slices`).
        inputs: Shape (tokens, features).
        a_weights: For each slice A of every slot, shape (slots, [1,] rank, features).
        b_weights: For each slice B of every slot, shape (slots, [1,] features of the slice, rank).
        scale: A factor.
        output_slices: The number of features of each slice.
    """
    if slot == _NONE:
        return
    begin = 0
    for size, a, b in zip(output_slices, a_weights, b_weights, strict=True):
        low = inputs.mm(a[slot].view(a.shape[-2:]).T)
        output[:, begin : begin + size].addmm_(low, b[slot].view(b.shape[-2:]).T, alpha=scale)
        begin += size


def shrink(
    inputs: "Tensor", weights: "Tensor", output: "Tensor", indices: "Tensor", scaling: float = 1.0
) -> None:
    """Sets `output` (tokens, rank) to `scaling` times `inputs` (tokens, features) times each token's matrix A.

    Args:
        inputs: Shape (tokens, features).
        weights: A of every slot, shape (slots, [1,] rank, features).
        output: Shape (tokens, at least rank); rows of tokens without an adapter become 0.
        indices: The slot of each token, -1 for none; can be longer than the number of tokens.
        scaling: A factor.
    """
    tokens = _tokens(tuple(indices[: inputs.shape[0]].tolist()))
    output[:, : weights.shape[-2]] = tokens.product(inputs, weights, output.dtype).mul_(scaling)


def expand(
    inputs: "Tensor", weights: "Tensor", output: "Tensor", indices: "Tensor", add_inputs: bool = True
) -> None:
    """`expand_slice` from the first feature on, for as many features as both output and adapter have."""
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
    """Adds `inputs` (tokens, rank) times each token's matrix B to a slice of `output`, or writes it there.

    Args:
        inputs: Shape (tokens, rank).
        weights: B of every slot, shape (slots, [1,] features, rank).
        output: Shape (tokens, all features). Rows of tokens without an adapter stay unchanged if the product is added,
            and become 0 if it is written.
        indices: The slot of each token, -1 for none; can be longer than the number of tokens.
        slice_offset: The first feature of the slice.
        slice_size: The number of its features.
        add_inputs: Whether to add to the slice or to overwrite it.
    """
    part = output[:, slice_offset : slice_offset + slice_size]
    tokens = _tokens(tuple(indices[: inputs.shape[0]].tolist()))
    if add_inputs and all(slot == _NONE for slot, _ in tokens.counts):
        return
    product = tokens.product(inputs, weights[..., :slice_size, :], output.dtype)
    if add_inputs:
        part.add_(product)
    else:
        part.copy_(product)


@dataclass(frozen=True)
class _Tokens:
    """The tokens of a batch, sorted by adapter.

    Attributes:
        counts: Each slot that occurs, ascending, with its number of tokens.
        order: Indices of the tokens, sorted by slot.
        ranks: The index of each token in that order.
    """

    counts: tuple[tuple[int, int], ...]
    order: "Tensor"
    ranks: "Tensor"

    def product(self, inputs: "Tensor", weights: "Tensor", dtype: "dtype") -> "Tensor":
        """`inputs` (tokens, k) times the transpose of each token's matrix (m, k): (tokens, m), 0 without an adapter."""
        import torch

        one_slot = len(self.counts) == 1
        ordered = (inputs if one_slot else inputs.index_select(0, self.order)).to(dtype)
        product = ordered.new_empty(ordered.shape[0], weights.shape[-2])
        begin = 0
        for slot, count in self.counts:
            part = product[begin : begin + count]
            if slot == _NONE:
                part.zero_()
            else:
                matrix = weights[slot].reshape(weights.shape[-2:]).to(dtype)
                torch.mm(ordered[begin : begin + count], matrix.T, out=part)
            begin += count
        return product if one_slot else product.index_select(0, self.ranks)


@lru_cache(maxsize=1)
def _tokens(indices: tuple[int, ...]) -> _Tokens:
    """Cached, because all layers of a forward pass have the same indices."""
    import torch

    order = torch.argsort(torch.tensor(indices), stable=True)
    counts = tuple((slot, indices.count(slot)) for slot in sorted(set(indices)))
    return _Tokens(counts, order, torch.argsort(order))
