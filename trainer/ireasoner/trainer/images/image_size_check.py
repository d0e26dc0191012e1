"""Whether a policy can take an image of some size, and how many tokens the image becomes."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageSizeCheck:
    """The sizes that a policy can take.

    Attributes:
        image_processor: The policy's image processor, of the Qwen2-VL family. It scales an image to its bounds in
            pixels, and refuses a side that is more than 200 times the other.
        room_tokens: Tokens of the context that an image may take; None if the context is not known.
    """

    image_processor: Any
    room_tokens: int | None = None

    def tokens(self, width: int, height: int) -> int:
        """The tokens of an image of `width` x `height` pixels.

        Raises:
            ValueError: The processor refuses the size.
        """
        patches: int = self.image_processor.get_number_of_image_patches(height, width)
        merge_size: int = self.image_processor.merge_size
        return patches // merge_size**2

    def fault(self, width: int, height: int) -> str | None:
        """Why the policy cannot take an image of `width` x `height` pixels; None if it can."""
        try:
            tokens = self.tokens(width, height)
        except ValueError as error:
            return f"{width} x {height} pixels: {error}"
        if self.room_tokens is not None and tokens > self.room_tokens:
            return (
                f"{width} x {height} pixels are {tokens:,} tokens, and the context has room for {self.room_tokens:,} "
                "beside the text: lower rollout.max_pixels here and --max-pixels of the rollout server, or raise its "
                "--max-model-len"
            )
        return None
