"""A folder of images: which ones a run can use, and why it leaves the others out."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ireasoner.trainer.errors import ImagesError, UnreadableImageError
from ireasoner.trainer.images.folder_walk import FolderWalk, suffixes
from ireasoner.trainer.images.image_size_check import ImageSizeCheck
from ireasoner.trainer.images.read_image import read_image, shown
from ireasoner.trainer.images.scan_cache import ScanCache

logger = logging.getLogger(__name__)

_NAMED_AT_MOST = 20
_THREADS = min(os.cpu_count() or 1, 4)
"""Decoding threads; each may hold half a gigabyte, the largest image that Pillow decodes."""

OnProgress = Callable[[int, int], None]
"""Called with the number of images that were decoded so far, and the number of those to decode."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A readable image.

    Attributes:
        name: Its path relative to the folder, with slashes.
        size_bytes: Size of the file.
        width: Width of the upright image in pixels.
        height: Height in pixels.
    """

    name: str
    size_bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The images of a folder that can be used, subfolders included, sorted by path.

    Attributes:
        folder: The folder.
        files: The images that can be used.
        left_out: Why each other image is not used, by name.
    """

    folder: Path
    files: tuple[ImageFile, ...]
    left_out: Mapping[str, str]

    @classmethod
    def scan(cls, folder: Path, on_progress: OnProgress = lambda *_: None) -> "ImageFolder":
        """Decodes each image that is new or has changed since the last scan of `folder`; finds those that are broken.

        Raises:
            ImagesError: The folder is missing, or has no readable image.
        """
        walk = _walk(folder)
        cache = ScanCache(folder)
        sizes, left_out = cache.read(walk), dict(walk.left_out)
        new = [name for name in walk.files if name not in sizes]
        try:
            for done, (name, found) in enumerate(zip(new, _decoded(folder, new), strict=True), start=1):
                if isinstance(found, str):
                    left_out[name] = found
                else:
                    sizes[name] = found
                on_progress(done, len(new))
        finally:  # an interrupted scan continues where it was
            cache.write(walk, sizes)
        files = tuple(
            ImageFile(name, size_bytes, *sizes[name])
            for name, (size_bytes, _) in walk.files.items()
            if name in sizes
        )
        if not files:
            raise ImagesError(
                f"images: {shown(folder)} has no readable image ({len(left_out)} unreadable; looked for "
                f"{' '.join(sorted(suffixes()))}){_named(left_out)}"
            )
        return cls(folder, files, left_out)

    @property
    def paths(self) -> tuple[Path, ...]:
        """One path per image that can be used."""
        return tuple(self.folder / file.name for file in self.files)

    def first_readable(self) -> Image.Image:
        """The first image that can still be read.

        Raises:
            ImagesError: None can.
        """
        for path in self.paths:
            with contextlib.suppress(UnreadableImageError):
                return read_image(path)
        raise ImagesError(f"images: no image in {shown(self.folder)} can be read any more")

    def fitting(self, check: ImageSizeCheck) -> "ImageFolder":
        """The folder without the images that the policy cannot take.

        Raises:
            ImagesError: It cannot take any.
        """
        faults = {file.name: check.fault(file.width, file.height) for file in self.files}
        left_out = {name: fault for name, fault in faults.items() if fault is not None}
        files = tuple(file for file in self.files if file.name not in left_out)
        if not files:
            raise ImagesError(
                f"images: {shown(self.folder)} has no image that this run can use{_named(left_out)}"
            )
        return ImageFolder(self.folder, files, {**self.left_out, **left_out})

    def require(self, count: int) -> None:
        """Raises ImagesError if the folder has fewer than the `count` images of one update."""
        if len(self.files) < count:
            raise ImagesError(
                f"images: {shown(self.folder)} has {len(self.files)} usable images, fewer than the {count} of one "
                f"update: add images, or lower groups_per_update{_named(self.left_out)}"
            )

    def warn_of_left_out(self) -> None:
        """Logs the name of each image that is not used, and why."""
        for name, reason in list(self.left_out.items())[:_NAMED_AT_MOST]:
            logger.warning("images: %s is left out: %s", name, reason)
        if len(self.left_out) > _NAMED_AT_MOST:
            logger.warning("images: %d more are left out", len(self.left_out) - _NAMED_AT_MOST)


def _walk(folder: Path) -> FolderWalk:
    if not folder.is_dir():
        raise ImagesError(f"images: {shown(folder)} is not a folder")
    if shown(folder) != str(folder):
        raise ImagesError(
            f"images: the name of {shown(folder)} is not UTF-8: rename the folder, or link to it"
        )
    try:
        return FolderWalk(folder)
    except OSError as error:
        raise ImagesError(f"images: {folder} cannot be listed: {error.strerror}") from error


def _decoded(folder: Path, names: Sequence[str]) -> Iterator[tuple[int, int] | str]:
    """The size in pixels of each image, in order, or why it cannot be read."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scan")
    try:
        yield from pool.map(lambda name: _size_or_fault(folder / name), names)
    finally:
        pool.shutdown(cancel_futures=True)


def _size_or_fault(path: Path) -> tuple[int, int] | str:
    try:
        return read_image(path).size
    except UnreadableImageError as error:
        return error.reason


def _named(left_out: Mapping[str, str]) -> str:
    """The first images that are left out, each with its reason, for the end of a message."""
    named = [f"{name}: {reason}" for name, reason in list(left_out.items())[:3]]
    rest = len(left_out) - len(named)
    return "".join(f"\n  {line}" for line in [*named, *([f"and {rest} more"] if rest > 0 else [])])
