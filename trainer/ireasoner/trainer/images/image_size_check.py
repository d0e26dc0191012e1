"""Whether a policy can take an image of some size, and how many tokens the image becomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_KNOWN_SIZES = 4096


@dataclass(frozen=True, slots=True)
class ImageSizeCheck:
    """The sizes that a policy can take.

    Attributes:
        image_processor: The policy's image processor. One that cuts an image into patches and merges them, as that of
            the Qwen2-VL family, says how many; it refuses a side that is more than 200 times the other.
        room_tokens: Tokens of the context that an image may take; None if the context is not known.
        measured: Measures the tokens of an image of some width and height, for other processors; None leaves them
            unknown.
    """

    image_processor: Any
    room_tokens: int | None = None
    measured: Callable[[int, int], int] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.measured is not None:  # many images have the same size
            object.__setattr__(self, "measured", lru_cache(_KNOWN_SIZES)(self.measured))

    def tokens(self, width: int, height: int) -> int | None:
        """The tokens of an image of `width` x `height` pixels; None if they are not known.

        Raises:
            ValueError: The processor refuses the size.
        """
        if self._counts_patches:
            patches: int = self.image_processor.get_number_of_image_patches(height, width)
            merge_size: int = self.image_processor.merge_size
            return patches // merge_size**2
        return None if self.measured is None else self.measured(width, height)

    @property
    def _counts_patches(self) -> bool:
        return hasattr(self.image_processor, "merge_size")

    def fault(self, width: int, height: int) -> str | None:
        """Why the policy cannot take an image of `width` x `height` pixels; None if it can."""
        if self.room_tokens is None and not self._counts_patches:
            return None  # every size would be measured, and compared with nothing
        try:
            tokens = self.tokens(width, height)
        except ValueError as error:
            return f"{width} x {height} pixels: {error}"
        if self.room_tokens is not None and tokens is not None and tokens > self.room_tokens:
            return (
                f"{width} x {height} pixels are {tokens:,} tokens, and the context has room for {self.room_tokens:,} "
                "beside the text: lower rollout.max_pixels here and --max-pixels of the rollout server, or raise its "
                "--max-model-len"
            )
        return None
