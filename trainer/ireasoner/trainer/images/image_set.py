"""The images of a run: which ones it can use, and why it leaves the others out."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from os import cpu_count
from pathlib import Path
from typing import Any, Self, TypeVar

from PIL import Image

from ireasoner.trainer.data import Identity
from ireasoner.trainer.errors import ImagesError, UnreadableImageError
from ireasoner.trainer.images.image_size_check import ImageSizeCheck
from ireasoner.trainer.shown_path import shown

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

_NAMED_AT_MOST = 20
_THREADS = min(cpu_count() or 1, 4)
"""Decoding threads; each may hold half a gigabyte, the largest image that Pillow decodes."""

OnProgress = Callable[[int, int], None]
"""Called with the number of images that were decoded so far, and the number of those to decode."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A readable image.

    Attributes:
        name: Its path relative to the folder, with slashes; or its row in a dataset.
        size_bytes: Size of the file, or of the bytes in the row.
        width: Width of the upright image in pixels.
        height: Height in pixels.
        digest: Start of the SHA-256 of a row's bytes; empty for a file.
    """

    name: str
    size_bytes: int
    width: int
    height: int
    digest: str = ""


@dataclass(frozen=True)
class ImageSet(ABC):
    """Images that can be used, in a fixed order.

    Attributes:
        files: The images that can be used.
        left_out: Why each other image is not used, by name.
    """

    files: tuple[ImageFile, ...]
    left_out: Mapping[str, str]

    @property
    @abstractmethod
    def address(self) -> Path:
        """Where the images come from, for messages."""

    @abstractmethod
    def path_of(self, name: str) -> Path:
        """The path under which an image is logged: that of its file, or its row in a dataset."""

    @abstractmethod
    def pixels(self, name: str) -> Image.Image:
        """The image of this name.

        Raises:
            UnreadableImageError: It cannot be read.
        """

    @property
    def identity(self) -> Identity | None:
        """The dataset that the images come from; None for files."""
        return None

    @property
    def summary(self) -> str:
        """How many images there are, and where, in a few words."""
        return f"{len(self.files)} in {shown(self.address)}, {len(self.left_out)} left out"

    @property
    def count(self) -> int | None:
        """The number of images of an epoch; None if it is not known."""
        return len(self.files)

    @property
    def paths(self) -> tuple[Path, ...]:
        """One path per image that can be used; see `path_of`."""
        return tuple(self._by_path)

    @cached_property
    def _by_path(self) -> dict[Path, ImageFile]:
        return {self.path_of(file.name): file for file in self.files}

    def read(self, path: Path) -> Image.Image:
        """The image with one of `paths`.

        Raises:
            UnreadableImageError: It cannot be read any more, or has another size than at the start.
        """
        file = self._by_path[path]
        picture = self.pixels(file.name)
        if picture.size != (file.width, file.height):
            raise UnreadableImageError(
                str(path),
                f"it was replaced: {file.width} x {file.height} pixels are {picture.width} x {picture.height} now",
            )
        return picture

    def first_readable(self) -> Image.Image:
        """The first image that can still be read.

        Raises:
            ImagesError: None can.
        """
        for file in self.files:
            try:
                return self.pixels(file.name)
            except UnreadableImageError:
                continue
        raise ImagesError(f"images: no image in {shown(self.address)} can be read any more")

    def fitting(self, check: ImageSizeCheck) -> Self:
        """The set without the images that the policy's processor refuses.

        An image that is only too large for the model context is not left out: a bound in pixels makes it fit.

        Raises:
            ImagesError: It cannot take any, or the largest image does not fit into the model context.
        """
        usable = self._without({file.name: check.fault(file.width, file.height) for file in self.files})
        usable._refuse_excess(check)
        return usable

    def _refuse_excess(self, check: ImageSizeCheck) -> None:
        excess = {file: check.excess(file.width, file.height) for file in self.files}
        beyond = [file for file, fault in excess.items() if fault is not None]
        if beyond:
            largest = max(beyond, key=lambda file: check.tokens(file.width, file.height) or 0)
            others = f" and {len(beyond) - 1:,} more do not fit" if len(beyond) > 1 else " does not fit"
            raise ImagesError(f"images: {largest.name}{others}: {excess[largest]}")

    def _without(self, faults: Mapping[str, str | None]) -> Self:
        """The set without the images that have a fault.

        Raises:
            ImagesError: None is left.
        """
        left_out = {name: fault for name, fault in faults.items() if fault is not None}
        files = tuple(file for file in self.files if file.name not in left_out)
        if not files:
            raise ImagesError(
                f"images: {shown(self.address)} has no image that this run can use{named(left_out)}"
            )
        return replace(self, files=files, left_out={**self.left_out, **left_out})

    def require(self, count: int) -> None:
        """Raises ImagesError if there are fewer than the `count` images of one update."""
        if len(self.files) < count:
            raise ImagesError(
                f"images: {shown(self.address)} has {len(self.files)} usable images, fewer than the {count} of one "
                f"update: add images, or lower groups_per_update{named(self.left_out)}"
            )

    def warn_of_left_out(self) -> None:
        """Logs the name of each image that is not used, and why."""
        for name, reason in list(self.left_out.items())[:_NAMED_AT_MOST]:
            logger.warning("images: %s is left out: %s", name, reason)
        if len(self.left_out) > _NAMED_AT_MOST:
            logger.warning("images: %d more are left out", len(self.left_out) - _NAMED_AT_MOST)


def decoded(read: Callable[[Item], Any], items: Iterable[Item]) -> Iterator[Any]:
    """What `read` returns for each item, in order, or why it raised an `UnreadableImageError`."""

    def result(item: Item) -> Any:
        try:
            return read(item)
        except UnreadableImageError as error:
            return error.reason

    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scan")
    try:
        yield from pool.map(result, items)
    finally:
        pool.shutdown(cancel_futures=True)


def named(left_out: Mapping[str, str]) -> str:
    """The first images that are left out, each with its reason, for the end of a message."""
    first = [f"{name}: {reason}" for name, reason in list(left_out.items())[:3]]
    rest = len(left_out) - len(first)
    return "".join(f"\n  {line}" for line in [*first, *([f"and {rest} more"] if rest > 0 else [])])
