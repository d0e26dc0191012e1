"""The files that paths in rows name."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class RowFiles:
    """Finds the files that paths in rows name.

    Attributes:
        folder: A path is relative to it; None if relative paths mean nothing.
        resolved: Whether `datasets` made the paths: they are absolute, or addresses of members of an archive
            (`zip://a.png::/data/images.zip`) or of files on the hub (`hf://datasets/...`).
    """

    folder: Path | None = None
    resolved: bool = False

    def located(self, path: str) -> Path | str | None:
        """A file on this machine, or an address that `datasets` opens; None if the path means nothing."""
        if self.resolved and "://" in path:
            return path
        if self.folder is None and not (self.resolved and Path(path).is_absolute()):
            return None
        return (self.folder or Path()) / path

    def stamp(self, path: str) -> tuple[int, int]:
        """Size in bytes and time of change in nanoseconds of the file, or of the archive that it is in.

        Both are 0 for a file on the hub, whose address holds its commit, and for one that is missing.
        """
        located = self.located(path)
        file = Path(located.rpartition("::")[2]) if isinstance(located, str) else located
        try:
            return (0, 0) if file is None else stamp_of(file)
        except (OSError, ValueError):  # ValueError: a null byte
            return 0, 0


def stamp_of(path: Path) -> tuple[int, int]:
    """A file's size in bytes and time of change in nanoseconds. Raises OSError if it is missing."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def open_address(address: str) -> BinaryIO:
    """Opens the member of an archive or the file on the hub at an address that `datasets` made.

    Raises:
        Exception: It cannot be opened; what is raised depends on the protocol.
    """
    from datasets.utils.file_utils import xopen

    file: BinaryIO = xopen(address, "rb")
    return file
