"""Whether a policy can take an image of some size, and how many tokens the image becomes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

_KNOWN_SIZES = 4096


def has_pixel_bounds(image_processor: Any) -> bool:
    """Whether an image processor scales an image to between two areas, and cuts it into patches that it merges."""
    size = getattr(image_processor, "size", None)
    bounds = (getattr(size, "shortest_edge", None), getattr(size, "longest_edge", None))
    return None not in bounds and hasattr(image_processor, "merge_size")


@dataclass(frozen=True, slots=True)
class ImageSizeCheck:
    """The sizes that a policy can take.

    Attributes:
        image_processor: The policy's image processor. One that cuts an image into patches and merges them, as that of
            the Qwen2-VL family, says how many; it refuses a side that is more than 200 times the other.
        room_tokens: Tokens of the model context that an image may take; None if the context is not known.
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
        """Why the policy's processor refuses an image of `width` x `height` pixels; None if it does not.

        A processor that does not count patches is asked only if there is a room to compare its tokens with.
        """
        if self.room_tokens is None and not self._counts_patches:
            return None
        try:
            self.tokens(width, height)
        except ValueError as error:
            return f"{width} x {height} pixels: {error}"
        return None

    def excess(self, width: int, height: int) -> str | None:
        """By how much an image that the processor takes exceeds its room, and the remedy; None if it does not."""
        if self.room_tokens is None:
            return None
        tokens = self.tokens(width, height)
        if tokens is None or tokens <= self.room_tokens:
            return None
        return (
            f"{width:,} x {height:,} pixels are {tokens:,} tokens, and the model context has room for "
            f"{self.room_tokens:,} beside prompt and completion: {self._remedy}"
        )

    @property
    def _remedy(self) -> str:
        longer = "start the rollout server with a larger --max-model-len"
        longer += " (or raise rollout.context_tokens, if it is set)"
        if not has_pixel_bounds(self.image_processor) or self.room_tokens is None:
            return longer
        area = self.room_tokens * (self.image_processor.patch_size * self.image_processor.merge_size) ** 2
        return f"set rollout.max_pixels and the rollout server's --max-pixels to {area} or less, or {longer}"
