"""Unlabelled images: a folder of files, read once and checked."""

import io
import logging
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ireasoner.trainer.errors import ImagesError

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The readable images of a folder, sub-folders included, sorted by path.

    Attributes:
        folder: The folder.
        paths: One path per image.
        skipped: Image files that cannot be read.
    """

    folder: Path
    paths: tuple[Path, ...]
    skipped: tuple[Path, ...]

    @classmethod
    def scan(cls, folder: Path) -> "ImageFolder":
        """Reads every image of `folder` once; images that cannot be decoded are skipped with a warning.

        Raises:
            ImagesError: The folder is missing or has no readable image.
        """
        if not folder.is_dir():
            raise ImagesError(f"images: {folder} is not a folder")
        candidates = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
        paths, skipped = [], []
        for path in candidates:
            try:
                read_image(path)
            except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
                logger.warning("images: %s is skipped: %s", path, error)
                skipped.append(path)
            else:
                paths.append(path)
        if not paths:
            suffixes = " ".join(sorted(SUFFIXES))
            raise ImagesError(
                f"images: {folder} has no readable image ({len(skipped)} unreadable; looked for {suffixes})"
            )
        return cls(folder, tuple(paths), tuple(skipped))

    def require(self, count: int) -> None:
        """Raises ImagesError if the folder has fewer than the `count` images of one update."""
        if len(self.paths) < count:
            raise ImagesError(
                f"images: {self.folder} has {len(self.paths)} readable images, fewer than the {count} of one update: "
                "add images, or lower groups_per_update"
            )


def read_image(path: Path) -> Image.Image:
    """The image in RGB, decoded in full.

    Raises:
        OSError: The file cannot be read or is truncated.
        UnidentifiedImageError: The file is not an image.
    """
    with Image.open(path) as image:
        return image.convert("RGB")


def png_bytes(image: Image.Image) -> bytes:
    """The image as PNG, which is lossless: the server sees the pixels of the training forward pass."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
