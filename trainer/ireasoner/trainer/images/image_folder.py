"""Image files: those of a folder, or those that a table lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.images.folder_walk import FolderWalk, suffixes
from ireasoner.trainer.images.image_set import ImageFile, ImageSet, OnProgress, decoded, named
from ireasoner.trainer.images.read_image import read_image
from ireasoner.trainer.images.scan_cache import ScanCache
from ireasoner.trainer.shown_path import shown


class FileList(Protocol):
    """Image files before any is opened; see `FolderWalk`."""

    files: dict[str, tuple[int, int]]
    left_out: dict[str, str]


@dataclass(frozen=True)
class ImageFolder(ImageSet):
    """The image files of a folder that can be used.

    Attributes:
        folder: The folder; names are relative to it.
        table: The table that lists them; None for all files of the folder, subfolders included, sorted by path.
    """

    folder: Path
    table: Path | None = None

    @classmethod
    def scan(cls, folder: Path, on_progress: OnProgress = lambda *_: None) -> "ImageFolder":
        """Decodes each image that is new or has changed since the last scan of `folder`; finds those that are broken.

        Raises:
            ImagesError: The folder is missing, or has no readable image.
        """
        return cls.of(_walk(folder), folder, None, on_progress)

    @classmethod
    def of(
        cls,
        listed: FileList,
        folder: Path,
        table: Path | None = None,
        on_progress: OnProgress = lambda *_: None,
    ) -> "ImageFolder":
        """Scans files that were listed; see `scan`."""
        cache = ScanCache(str((table or folder).resolve()), listed.files, values=2)
        known, left_out = cache.read(), dict(listed.left_out)
        new = [name for name in listed.files if name not in known]
        try:
            sizes = decoded(lambda name: read_image(folder / name).size, new)
            for done, (name, found) in enumerate(zip(new, sizes, strict=True), start=1):
                if isinstance(found, str):
                    left_out[name] = found
                else:
                    known[name] = found
                on_progress(done, len(new))
        finally:  # an interrupted scan continues where it was
            cache.write(known)
        files = tuple(
            ImageFile(name, size_bytes, int(known[name][0]), int(known[name][1]))
            for name, (size_bytes, _) in listed.files.items()
            if name in known
        )
        if not files:
            looked = f"; looked for {' '.join(sorted(suffixes()))}" if table is None else ""
            raise ImagesError(
                f"images: {shown(table or folder)} has no readable image ({len(left_out)} unreadable{looked})"
                f"{named(left_out)}"
            )
        return cls(files, left_out, folder, table)

    @property
    def address(self) -> Path:
        return self.table or self.folder

    def path_of(self, name: str) -> Path:
        return self.folder / name

    def pixels(self, name: str) -> Image.Image:
        return read_image(self.folder / name)


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
