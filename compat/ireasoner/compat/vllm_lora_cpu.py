"""Makes vLLM apply an adapter with one matrix product per batch on a CPU, instead of one copy of it per token.

vLLM's CPU operators gather a pair of matrices for each token and multiply one vector by each, which is half of the time
that a small model needs to sample. They also apply the last adapter to tokens without an adapter (index -1):
https://github.com/vllm-project/vllm/pull/48421. Here the tokens of each adapter share one matrix product, and tokens
without an adapter stay unchanged. In float32 a layer adds all adapters of a batch by two products per slice: of
matrices where the whole batch has one adapter, else of stacks of small matrices.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from torch import Tensor, dtype

_NONE = -1
"""The slot of a token without an adapter."""
_BLOCK_TOKENS = 16
"""How many tokens of one adapter one matrix of a stack holds: with few, little is padding."""


def multiply_by_adapter(operators: ModuleType) -> None:
    """Replaces the three operators that all others of the module call."""
    operators.__dict__.update(bgmv_shrink=shrink, bgmv_expand=expand, bgmv_expand_slice=expand_slice)


def add_at_once(wrapper: ModuleType) -> None:
    """Lets the wrapper's layers add all adapters of a batch at once in float32; lower precisions go its own way."""
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
        import torch

        # In lower precision vLLM keeps what is between A and B in float32.
        if x.dtype == y.dtype == lora_b_stacked[0].dtype == torch.float32:
            tokens = _tokens(tuple(self.token_lora_indices[: x.shape[0]].tolist()))
            tokens.add_adapters(y, x, lora_a_stacked, lora_b_stacked, scale, output_slices)
        else:
            general(self, y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, **rest)

    wrapper.PunicaWrapperCPU.add_lora_linear = add_lora_linear


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

    @cached_property
    def blocks(self) -> "_Blocks":
        """The tokens that have an adapter, in blocks of one adapter each."""
        return _Blocks.of(self)

    def add_adapters(
        self,
        output: "Tensor",
        inputs: "Tensor",
        a_weights: "Sequence[Tensor]",
        b_weights: "Sequence[Tensor]",
        scale: float,
        output_slices: "Sequence[int]",
    ) -> None:
        """Adds `scale` times each token's inputs times A times B to its row of `output`, if it has an adapter.

        Args:
            output: Shape (tokens, the sum of `output_slices`).
            inputs: Shape (tokens, features).
            a_weights: For each slice A of every slot, shape (slots, [1,] rank, features).
            b_weights: For each slice B of every slot, shape (slots, [1,] features of the slice, rank).
            scale: A factor.
            output_slices: The number of features of each slice.
        """
        ends = list(accumulate(output_slices))
        parts = [
            (output[:, end - size : end], a, b)
            for end, size, a, b in zip(ends, output_slices, a_weights, b_weights, strict=True)
        ]
        if len(self.counts) > 1:
            blocks = self.blocks
            ordered = blocks.gathered(inputs)
            for part, a, b in parts:
                part.add_(blocks.scattered(blocks.product(blocks.product(ordered, a), b)), alpha=scale)
        elif self.counts and (slot := self.counts[0][0]) != _NONE:
            for part, a, b in parts:
                low = inputs.mm(a[slot].view(a.shape[-2:]).T)
                part.addmm_(low, b[slot].view(b.shape[-2:]).T, alpha=scale)

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


@dataclass(frozen=True)
class _Blocks:
    """The tokens of a batch that have an adapter, in blocks of `_BLOCK_TOKENS`; each has one adapter.

    Attributes:
        slots: The slot of each block.
        rows: For each place in a block the index of its token; the places that are left over have any.
        places: For each token the index of its place; one past the last for a token without an adapter.
        some_have_none: Whether there are such tokens.
    """

    slots: "Tensor"
    rows: "Tensor"
    places: "Tensor"
    some_have_none: bool

    @classmethod
    def of(cls, tokens: _Tokens) -> "_Blocks":
        """The blocks of these tokens."""
        import torch

        slots: list[int] = []
        places = torch.empty_like(tokens.order)
        begin = 0
        for slot, count in tokens.counts:
            if slot != _NONE:
                first = len(slots) * _BLOCK_TOKENS
                places[tokens.order[begin : begin + count]] = torch.arange(first, first + count)
                slots += [slot] * -(-count // _BLOCK_TOKENS)
            begin += count
        size = len(slots) * _BLOCK_TOKENS
        some_have_none = tokens.counts[0][0] == _NONE
        if some_have_none:
            places[tokens.order[: tokens.counts[0][1]]] = size
        rows = torch.zeros(size + 1, dtype=torch.long)
        rows[places] = torch.arange(len(places))
        return cls(torch.tensor(slots), rows[:size], places, some_have_none)

    def gathered(self, inputs: "Tensor") -> "Tensor":
        """The rows of the blocks, shape (blocks, tokens of a block, features), of `inputs` (tokens, features)."""
        return inputs.index_select(0, self.rows).view(len(self.slots), _BLOCK_TOKENS, -1)

    def product(self, inputs: "Tensor", weights: "Tensor") -> "Tensor":
        """Each block (tokens of a block, k) times the transpose of its matrix (m, k)."""
        matrices = weights.view(weights.shape[0], *weights.shape[-2:]).index_select(0, self.slots)
        return inputs.bmm(matrices.transpose(1, 2))

    def scattered(self, outputs: "Tensor") -> "Tensor":
        """The row of each token, shape (tokens, features); 0 for a token without an adapter."""
        from torch.nn.functional import pad

        flat = outputs.flatten(0, 1)
        if self.some_have_none:
            flat = pad(flat, (0, 0, 0, 1))
        return flat.index_select(0, self.places)


@lru_cache(maxsize=1)
def _tokens(indices: tuple[int, ...]) -> _Tokens:
    """Cached, because all layers of a forward pass have the same indices."""
    import torch

    order = torch.argsort(torch.tensor(indices), stable=True)
    counts = tuple((slot, indices.count(slot)) for slot in sorted(set(indices)))
    return _Tokens(counts, order, torch.argsort(order))
