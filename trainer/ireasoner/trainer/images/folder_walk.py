"""The image files under a folder, by name, before any is opened."""

import os
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ireasoner.trainer.images.read_image import FORMATS
from ireasoner.trainer.shown_path import shown

UNREAD = frozenset({".heic", ".heif", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"})
"""Suffixes of photos that are not read; other files that are no images pass unmentioned."""


def suffixes() -> frozenset[str]:
    """The suffixes that image files have, in lower case."""
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


def first_image(folder: Path) -> Path | None:
    """An image file of a folder or its subfolders, by its name; None if there is none."""
    known = suffixes() | UNREAD
    for parent, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in known and not name.startswith("."):
                return Path(parent, name)
    return None


@dataclass(slots=True)
class FolderWalk:
    """Finds the image files of a folder and its subfolders.

    Names are relative to the folder, with slashes. Hidden files and folders are left out. Links to folders are
    followed after the folders themselves, and no folder is entered twice, so a link cannot make a loop.

    Attributes:
        folder: The folder.
        files: Size in bytes and time of the last change in nanoseconds, by name, in the order of the names' parts.
        left_out: Reason by name of each entry that was not followed or cannot be an image; a folder's name ends in a
            slash.

    Raises:
        OSError: The folder itself cannot be listed.
    """

    folder: Path
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    _suffixes: frozenset[str] = field(default_factory=suffixes)
    _entered: set[tuple[int, int]] = field(default_factory=set)
    _folders: deque[str] = field(default_factory=lambda: deque([""]))
    _links: deque[str] = field(default_factory=deque)

    def __post_init__(self) -> None:
        while self._folders or self._links:
            name = self._folders.popleft() if self._folders else self._links.popleft()
            try:
                self._enter(name)
            except OSError as error:
                if not name:
                    raise
                self.left_out[f"{shown(name)}/"] = error.strerror or str(error)
        self.files = dict(sorted(self.files.items(), key=lambda file: file[0].split("/")))

    def _enter(self, name: str) -> None:
        path = self.folder / name
        status = path.stat()
        if (status.st_dev, status.st_ino) in self._entered:
            return
        self._entered.add((status.st_dev, status.st_ino))
        if name and self.folder.resolve().is_relative_to(path.resolve()):
            self.left_out[f"{shown(name)}/"] = "a link to a folder that contains this one"
            return
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not entry.name.startswith("."):
                    self._add(f"{name}/{entry.name}" if name else entry.name, entry)

    def _add(self, name: str, entry: "os.DirEntry[str]") -> None:
        is_image = Path(name).suffix.lower() in self._suffixes
        try:
            if entry.is_dir():
                (self._links if entry.is_symlink() else self._folders).append(name)
            elif Path(name).suffix.lower() in UNREAD:
                self.left_out[shown(name)] = "its format is not read: convert it to JPEG"
            elif is_image and shown(name) != name:
                self.left_out[shown(name)] = "its name is not UTF-8"
            elif is_image and not entry.is_file():
                self.left_out[name] = "a link to nothing" if entry.is_symlink() else "not a regular file"
            elif is_image:
                status = entry.stat()
                self.files[name] = (status.st_size, status.st_mtime_ns)
        except OSError as error:  # a link to itself
            self.left_out[shown(name)] = error.strerror or str(error)
