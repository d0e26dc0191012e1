"""Forward passes that compute a prompt once for all of its rollouts.

The rollouts of a prompt share its text and image, which are most of the tokens. Keys and values of the prompt are
computed once; every rollout attends to them, and the gradients of all rollouts flow back through them. The result is
the same up to rounding.
"""

from typing import Any

import torch

from ireasoner.trainer.loop.trl_internals import (
    Batch,
    split_pixel_values_by_grid,
    unsplit_pixel_values_by_grid,
)


def after_shared_prompts(
    model: Any, inputs: Batch, prompt_of_row: torch.Tensor, completion_tokens: int
) -> Batch:
    """Computes the prompts, and returns the inputs of a forward pass over the completions.

    Args:
        model: A `Qwen2_5_VLModel`, without its head.
        inputs: `input_ids` and `attention_mask`, both (rows, tokens), prompts padded on the left and completions on
            the right; `mm_token_type_ids`, (rows, tokens); `pixel_values`, `image_grid_thw` and `num_images`, in
            TRL's form.
        prompt_of_row: Index of the prompt of each row, (rows,); rows of a prompt are adjacent.
        completion_tokens: Completion tokens of a row, padding included.

    Returns:
        `input_ids`, (rows, 1 + completion_tokens), starting with the last token of the prompt;
        `attention_mask`, (rows, tokens); `position_ids`, (3, rows, 1 + completion_tokens); and `past_key_values`.
    """
    is_first = prompt_of_row.diff(prepend=prompt_of_row.new_tensor([-1])) != 0
    starts, of_row = is_first.nonzero()[:, 0], is_first.cumsum(0) - 1
    shared = inputs["input_ids"].size(1) - completion_tokens - 1
    mask = inputs["attention_mask"]
    by_row = split_pixel_values_by_grid(inputs)
    prompts = unsplit_pixel_values_by_grid(
        {name: [by_row[name][row] for row in starts.tolist()] for name in ("pixel_values", "image_grid_thw")}
    )
    ids, types = (inputs[name][starts, : shared + 1] for name in ("input_ids", "mm_token_type_ids"))
    positions, offsets = model.get_rope_index(
        ids,
        image_grid_thw=prompts["image_grid_thw"],
        attention_mask=mask[starts, : shared + 1],
        mm_token_type_ids=types,
    )
    computed = model(
        input_ids=ids[:, :shared],
        attention_mask=mask[starts, :shared],
        position_ids=positions[..., :shared],
        mm_token_type_ids=types[:, :shared],
        use_cache=True,
        **prompts,
    )
    cache = computed.past_key_values
    cache.batch_select_indices(of_row)
    # After an image, positions continue from the image's largest one: the token count plus an offset.
    following = (mask.cumsum(-1) - 1)[:, shared:] + offsets.view(-1, 1)[of_row]
    return {
        "input_ids": inputs["input_ids"][:, shared:],
        "attention_mask": mask,
        "position_ids": following.clamp(min=0).expand(3, -1, -1),
        "past_key_values": cache,
    }
