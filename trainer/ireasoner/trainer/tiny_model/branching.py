"""Branches: several completions about one picture in one row of tokens, so that their shared prompt runs once.

A row is the beginning that the prompts share (the trunk), followed by branches: each the rest of its own prompt, and
its completion. A branch attends to its prompt's part of the trunk and to itself, at the positions that it would have
alone, so its logits are those of a separate forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label of tokens that are not learnt; torch's cross entropy skips it by default."""


@dataclass(frozen=True)
class Branch:
    """A prompt (token ids with image placeholders) and its completion (token ids with the end token)."""

    prompt: list[int]
    completion: list[int]


@dataclass(frozen=True)
class Rows:
    """B rows of L tokens.

    `input_ids` and `labels` are (B, L), `positions` (3, B, L), `visible` (B, 1, L, L) bool.
    `visible[b, 0, i, j]`: whether `i` attends to `j`. `labels[b, i]`: the token to predict at `i`, or `IGNORED`.
    """

    input_ids: "torch.Tensor"
    labels: "torch.Tensor"
    positions: "torch.Tensor"
    visible: "torch.Tensor"


class Trunk:
    """The shared beginning of several prompts, with the rotary positions of every prompt's tokens."""

    def __init__(self, prompts: Sequence[list[int]], prompt_positions: Any) -> None:
        """`prompt_positions` (3, P) are those of the longest prompt; the image must be part of the trunk."""
        self.ids = max(
            (shared for p in prompts for q in prompts if p != q for shared in [_shared(p, q)]), key=len
        )
        self._image_end_shift = int(prompt_positions[0, -1]) - (prompt_positions.shape[1] - 1)
        self._positions = prompt_positions[:, : len(self.ids)]

    def rows(self, branches: Sequence[Sequence[Branch]], pad: int) -> Rows:
        """One row per list of branches, padded at the end with `pad`."""
        import torch

        trunk = len(self.ids)
        lengths = [
            trunk + sum(len(b.prompt) - len(_shared(b.prompt, self.ids)) + len(b.completion) for b in row)
            for row in branches
        ]
        batch, longest = len(branches), max(lengths)
        input_ids = torch.full((batch, longest), pad)
        labels = torch.full((batch, longest), IGNORED)
        positions = torch.zeros((3, batch, longest), dtype=torch.long)
        owner = torch.full((batch, longest), -1)
        trunk_seen = torch.zeros((batch, longest), dtype=torch.long)
        input_ids[:, :trunk] = torch.tensor(self.ids)
        positions[:, :, :trunk] = self._positions[:, None]
        owner[:, :trunk] = 0
        trunk_seen[:, :trunk] = trunk
        for b, row in enumerate(branches):
            start = trunk
            for number, branch in enumerate(row, start=1):
                seen = len(_shared(branch.prompt, self.ids))
                ids = branch.prompt[seen:] + branch.completion
                end = start + len(ids)
                input_ids[b, start:end] = torch.tensor(ids)
                first = end - len(branch.completion) - 1
                labels[b, first : end - 1] = torch.tensor(branch.completion)
                positions[:, b, start:end] = torch.arange(seen, seen + len(ids)) + self._image_end_shift
                owner[b, start:end] = number
                trunk_seen[b, start:end] = seen
                start = end
        index = torch.arange(longest)
        causal = index[None, :] <= index[:, None]
        same = owner[:, :, None] == owner[:, None, :]
        of_trunk = (owner[:, None, :] == 0) & (index[None, None, :] < trunk_seen[:, :, None])
        return Rows(input_ids, labels, positions, (causal & (same | of_trunk))[:, None])


def _shared(a: list[int], b: list[int]) -> list[int]:
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]
