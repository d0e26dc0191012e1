"""Attention over packed rollouts: each attends to its prompt and to itself, each prompt to itself alone."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv

NAME = "shared_prompt"
"""The name of this attention in transformers."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the tokens of a packed sequence are if prompts and rollouts are padded on the right.

    Attributes:
        prompts: Prompts, and the tokens of the longest.
        of_prompt: Index in the padded prompts of each packed token of a prompt.
        rollouts: Rollouts, and the tokens of the longest.
        of_rollout: Index in the padded rollouts of each packed token of a rollout.
        prompt_of_rollout: Index of the prompt of each rollout.
        visible: Whether a token of a rollout sees a token of its prompt or of itself, (rollouts, 1, tokens of the
            longest rollout, those of the longest prompt plus these).
    """

    prompts: tuple[int, int]
    of_prompt: torch.Tensor
    rollouts: tuple[int, int]
    of_rollout: torch.Tensor
    prompt_of_rollout: torch.Tensor
    visible: torch.Tensor

    @classmethod
    def of(
        cls, is_prompt: torch.Tensor, is_rollout: torch.Tensor, prompt_of_rollout: torch.Tensor
    ) -> "Layout":
        """The layout of all prompts, row by row, and after them all rollouts.

        Args:
            is_prompt: Whether a place holds a token of a prompt, (prompts, places).
            is_rollout: The same of rollouts, (rollouts, places).
            prompt_of_rollout: Index of the prompt of each rollout.
        """
        lengths = is_prompt.sum(1)
        longest, tokens = int(lengths.max()), int(is_rollout.sum(1).max())
        in_prompt = torch.arange(longest, device=lengths.device) < lengths[prompt_of_rollout, None]
        earlier = torch.ones(tokens, tokens, dtype=torch.bool, device=lengths.device).tril()
        rollouts = len(is_rollout)
        visible = torch.cat(
            [in_prompt[:, None].expand(-1, tokens, -1), earlier.expand(rollouts, -1, -1)], dim=-1
        )
        return cls(
            (len(is_prompt), longest),
            _indices(is_prompt, longest),
            (rollouts, tokens),
            _indices(is_rollout, tokens),
            prompt_of_rollout,
            visible[:, None],
        )

    @property
    def prompt_tokens(self) -> int:
        """Packed tokens of prompts; those of rollouts follow."""
        return len(self.of_prompt)

    def split(self, packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts and rollouts of a packed tensor (1, heads, tokens, width), each (count, heads, longest, width)."""
        tokens = packed[0].transpose(0, 1)
        prompts = _Pad.apply(tokens[: self.prompt_tokens], self.of_prompt, *self.prompts)  # type: ignore[no-untyped-call]
        rollouts = _Pad.apply(tokens[self.prompt_tokens :], self.of_rollout, *self.rollouts)  # type: ignore[no-untyped-call]
        return prompts.transpose(1, 2), rollouts.transpose(1, 2)

    def join(self, prompts: torch.Tensor, rollouts: torch.Tensor) -> torch.Tensor:
        """The inverse of `split`, as (1, tokens, heads, width)."""
        parts = (
            _Unpad.apply(prompts.transpose(1, 2), self.of_prompt),  # type: ignore[no-untyped-call]
            _Unpad.apply(rollouts.transpose(1, 2), self.of_rollout),  # type: ignore[no-untyped-call]
        )
        return torch.cat(parts)[None]


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Layout,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """An attention of transformers, whose mask is a layout.

    Args:
        module: The layer.
        query: Shape (1, heads, tokens, width).
        key: Shape (1, heads of keys, tokens, width).
        value: As `key`.
        attention_mask: Which positions belong together.
        scaling: Factor of the logits.

    Returns:
        Shape (1, tokens, heads, width), and no weights.
    """
    layout, groups = attention_mask, module.num_key_value_groups
    prompt_query, query = layout.split(query)
    prompt_key, key = layout.split(key)
    prompt_value, value = layout.split(value)
    of_rollout = layout.prompt_of_rollout
    key = torch.cat([prompt_key.index_select(0, of_rollout), key], dim=2)
    value = torch.cat([prompt_value.index_select(0, of_rollout), value], dim=2)
    prompts = scaled_dot_product_attention(
        prompt_query,
        repeat_kv(prompt_key, groups),
        repeat_kv(prompt_value, groups),
        is_causal=True,
        scale=scaling,
    )
    rollouts = scaled_dot_product_attention(
        query, repeat_kv(key, groups), repeat_kv(value, groups), attn_mask=layout.visible, scale=scaling
    )
    return layout.join(prompts, rollouts), None


def _indices(is_token: torch.Tensor, longest: int) -> torch.Tensor:
    """Index of each token, row by row, among rows of `longest` places, if each row's tokens come first."""
    within = is_token.cumsum(1) - 1
    rows = torch.arange(len(is_token), device=is_token.device)[:, None] * longest
    return (rows + within)[is_token]


class _Pad(torch.autograd.Function):
    """Puts the tokens (tokens, ...) into rows padded with 0, (rows, places, ...)."""

    @staticmethod
    def forward(
        ctx: Any, tokens: torch.Tensor, indices: torch.Tensor, rows: int, places: int
    ) -> torch.Tensor:
        ctx.save_for_backward(indices)
        padded = tokens.new_zeros(rows * places, *tokens.shape[1:])
        return padded.index_copy_(0, indices, tokens).view(rows, places, *tokens.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        [indices] = ctx.saved_tensors
        return gradients[0].flatten(0, 1).index_select(0, indices), None, None, None


class _Unpad(torch.autograd.Function):
    """The inverse of `_Pad`."""

    @staticmethod
    def forward(ctx: Any, padded: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(indices)
        ctx.shape = padded.shape
        return padded.flatten(0, 1).index_select(0, indices)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        [indices] = ctx.saved_tensors
        padded = gradients[0].new_zeros(ctx.shape).flatten(0, 1)
        return padded.index_copy_(0, indices, gradients[0]).view(ctx.shape), None


AttentionInterface.register(NAME, attend)
