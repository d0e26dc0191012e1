"""The groups of each update, one per image; an image that cannot be read any more leaves its group out."""

import logging
from pathlib import Path
from typing import Protocol

from PIL import Image

from ireasoner.trainer.errors import ImagesError, UnreadableImageError
from ireasoner.trainer.rollouts.group import Group

logger = logging.getLogger(__name__)


class Pictures(Protocol):
    """Reads images that were usable when the run started, or when they were streamed."""

    def read(self, path: Path) -> Image.Image:
        """The image of this path; raises UnreadableImageError if it cannot be read any more, or was replaced."""


class Order(Protocol):
    """The images of each update."""

    def at(self, update: int) -> list[Path]:
        """The images of update `update` (from 0)."""


class ImageGroups:
    """Makes groups of the images of a run.

    Args:
        images: Reads the images.
        order: The images of each update.
        max_consecutive_unreadable: More consecutive unreadable images than this are an error.
        divisor: The number of groups that `shared` leaves is a multiple of it, so that processes can share the rows.
    """

    def __init__(
        self, images: Pictures, order: Order, max_consecutive_unreadable: int, divisor: int = 1
    ) -> None:
        self._images = images
        self._order = order
        self._max_consecutive_unreadable = max_consecutive_unreadable
        self._divisor = divisor
        self._consecutive_unreadable = 0

    def at(self, update: int, count: int) -> list[Group]:
        """The groups of the first `count` images of update `update` (from 0); fewer, or none, if some are unreadable.

        Raises:
            ImagesError: Too many consecutive images cannot be read.
        """
        groups = []
        for path in self._order.at(update)[:count]:
            try:
                groups.append(Group(path, self._images.read(path)))
                self._consecutive_unreadable = 0
            except UnreadableImageError as error:
                self._count(update, error)
        return groups

    def shared(self, groups: list[Group]) -> list[Group]:
        """The first groups, as many as processes can share: their number is a multiple of `divisor`."""
        return groups[: len(groups) // self._divisor * self._divisor]

    def _count(self, update: int, error: UnreadableImageError) -> None:
        self._consecutive_unreadable += 1
        if self._consecutive_unreadable > self._max_consecutive_unreadable:
            raise ImagesError(
                f"update {update + 1}: {self._consecutive_unreadable} consecutive images cannot be read "
                f"(max_consecutive_unreadable_images); the last one is {error}"
            ) from error
        logger.warning("update %d: a group is left out: %s", update + 1, error)
