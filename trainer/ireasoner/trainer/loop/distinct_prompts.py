"""A processor that reads each prompt once.

TRL has one row per rollout, and would scale, cut and tokenise the image and the text of a prompt once for each of its
rollouts. Only processors of the Qwen-VL form are spared this: their inputs show which patches are whose.
"""

from collections.abc import Sequence
from typing import Any

import torch

_OF_IMAGES = ("image_grid_thw", "pixel_values")
"""Inputs with entries for images, not for rows."""


class DistinctPrompts:
    """A processor for rows of which many have the same prompt, with the result of the processor it is made of.

    Args:
        processor: The policy's processor.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def __call__(
        self, *, images: Sequence[Sequence[Any]], text: Sequence[str], **options: Any
    ) -> dict[str, Any]:
        """The inputs of all rows.

        Args:
            images: The images of each row; rows of one prompt hold the same objects.
            text: The text of each row.
            options: Passed on; they must ask for tensors.

        Returns:
            `image_grid_thw`, (images, 3), and `pixel_values`, (patches of all images, features), in the order of the
            rows; all else has one entry per row. A processor without `image_grid_thw` reads every row.
        """
        if "image_grid_thw" not in self._processor.image_processor.model_input_names:
            read_by_row: dict[str, Any] = self._processor(images=images, text=text, **options)
            return read_by_row
        prompts = [(words, *map(id, shown)) for words, shown in zip(text, images, strict=True)]
        position = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
        of_row = [position[prompt] for prompt in prompts]
        rows = [of_row.index(index) for index in position.values()]
        read = self._processor(
            images=[images[row] for row in rows], text=[text[row] for row in rows], **options
        )
        grids = read["image_grid_thw"].split([len(images[row]) for row in rows])
        pixels = read["pixel_values"].split([int(grid.prod(-1).sum()) for grid in grids])
        inputs = {name: value[of_row] for name, value in read.items() if name not in _OF_IMAGES}
        return {
            **inputs,
            "image_grid_thw": torch.cat([grids[index] for index in of_row]),
            "pixel_values": torch.cat([pixels[index] for index in of_row]),
        }
