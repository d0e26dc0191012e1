"""Forward passes that compute a prompt once for all of its rollouts, and padding in attention alone.

The rollouts of a prompt share its text and image, which are most of the tokens. An update's prompts and rollouts form
one sequence; every rollout attends to its prompt and to itself (`shared_prompt_attention`), and the gradients of all
rollouts flow back through the prompt. The result is the same up to rounding.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen2_5_VLModel, Qwen2VLModel

from ireasoner.trainer.loop.shared_prompt_attention import NAME, Layout
from ireasoner.trainer.loop.trl_internals import (
    Batch,
    split_pixel_values_by_grid,
    unsplit_pixel_values_by_grid,
)

_PACKABLE = (Qwen2VLModel, Qwen2_5_VLModel)
"""Backbones, without their heads, that take the inputs and count the positions that `pack` makes."""


@dataclass(frozen=True, slots=True)
class PackedRollouts:
    """Prompts without their last token, and after them every rollout, which begins with the last token of its prompt.

    Attributes:
        inputs: The inputs of the backbone, a batch of one row.
        targets: The token after each position of a rollout, (tokens,): all tokens of the completions.
        is_target: Whether a token of a padded completion is one of them, (rows, completion tokens).
        layout: Which positions belong together.
    """

    inputs: Batch
    targets: torch.Tensor
    is_target: torch.Tensor
    layout: Layout

    def padded(self, values: torch.Tensor) -> torch.Tensor:
        """One value per target as (rows, completion tokens), 0 elsewhere."""
        return values.new_zeros(self.is_target.shape).masked_scatter(self.is_target, values)

    @contextmanager
    def read_by(self, model: Any) -> Iterator[None]:
        """Makes a backbone attend as the layout says, and return the states of the rollouts alone.

        In the block, its forward pass over `inputs` gives one state per target, `last_hidden_state` (1, tokens, width).
        """
        config, first = model.language_model.config, self.layout.prompt_tokens

        def of_rollouts(_module: Any, _inputs: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[:, first:]
            return output

        before, config._attn_implementation = config._attn_implementation, NAME
        hook = model.register_forward_hook(of_rollouts)
        try:
            yield
        finally:
            hook.remove()
            config._attn_implementation = before


def can_pack(model: Any) -> bool:
    """Whether a backbone, without its head, reads packed rows.

    It has to count positions as `pack` does, and every layer has to see all earlier tokens and drop none.
    """
    text = model.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    sees_all = kinds == {"full_attention"} and not text.attention_dropout
    return sees_all and isinstance(model, _PACKABLE)


def pack(
    model: Any, inputs: Mapping[str, Any], prompt_of_row: torch.Tensor, completion_tokens: int
) -> PackedRollouts:
    """Packs rows of a prompt and a completion each.

    Args:
        model: The backbone that will read them; see `can_pack`.
        inputs: `input_ids` and `attention_mask`, both (rows, tokens), prompts padded on the left and completions on
            the right; `mm_token_type_ids`, (rows, tokens); `pixel_values`, `image_grid_thw` and `num_images`, in
            TRL's form.
        prompt_of_row: Index of the prompt of each row, (rows,); rows of a prompt are adjacent.
        completion_tokens: Completion tokens of a row, padding included.
    """
    is_first = prompt_of_row.diff(prepend=prompt_of_row.new_tensor([-1])) != 0
    starts, of_row = is_first.nonzero()[:, 0], is_first.cumsum(0) - 1
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    shared = ids.size(1) - completion_tokens - 1
    is_prompt = mask[starts, :shared].bool()
    is_target = mask[:, -completion_tokens:].bool()
    if not is_target.any():  # rows that only keep processes in step still need a gradient, of 0
        is_target[0, 0] = True
    images = _images_of(inputs, starts)
    positions, offsets = model.get_rope_index(
        ids[starts, : shared + 1],
        image_grid_thw=images["image_grid_thw"],
        attention_mask=mask[starts, : shared + 1],
        mm_token_type_ids=inputs["mm_token_type_ids"][starts, : shared + 1],
    )
    # After an image, positions continue from the image's largest one: the token count plus an offset.
    following = (mask.cumsum(-1) - 1)[:, shared:-1] + offsets.view(-1, 1)[of_row]
    layout = Layout.of(is_prompt, is_target, of_row)
    return PackedRollouts(
        {
            "input_ids": torch.cat([ids[starts, :shared][is_prompt], ids[:, shared:-1][is_target]])[None],
            "position_ids": torch.cat(
                [positions[:, :, :shared][:, is_prompt], following[is_target].expand(3, -1)], dim=1
            )[:, None],
            "attention_mask": {"full_attention": layout},
            **_seen(model, images),
        },
        ids[:, shared + 1 :][is_target],
        is_target,
        layout,
    )


class PackedOnce:
    """Packs a micro-batch once for all forward passes over it: the policy and the reference read the same.

    A micro-batch is known by its pixels, a tensor that it alone has.
    """

    def __init__(self) -> None:
        self._pixels: torch.Tensor | None = None
        self._packed: PackedRollouts | None = None

    def of(
        self, model: Any, inputs: Mapping[str, Any], prompt_of_row: torch.Tensor, completion_tokens: int
    ) -> PackedRollouts:
        """What `pack` returns."""
        if self._packed is None or inputs["pixel_values"] is not self._pixels:
            self._packed = None  # so that its memory is free for the next one
            self._pixels = inputs["pixel_values"]
            self._packed = pack(model, inputs, prompt_of_row, completion_tokens)
        return self._packed


def _images_of(inputs: Mapping[str, Any], rows: torch.Tensor) -> Batch:
    """The image inputs of some rows, in TRL's form."""
    by_row = split_pixel_values_by_grid(dict(inputs))
    chosen = {
        name: [by_row[name][row] for row in rows.tolist()] for name in ("pixel_values", "image_grid_thw")
    }
    return dict(unsplit_pixel_values_by_grid(chosen))


def _seen(model: Any, images: Batch) -> Batch:
    """The images as the vision tower sees them, once for all passes; as pixels if an adapter changes what it sees."""
    if any("lora_" in name for name, _ in model.visual.named_parameters()):
        return images
    with torch.no_grad():
        return {"mm_encoder_outputs": {"image": model.get_image_features(**images, return_dict=True)}}
