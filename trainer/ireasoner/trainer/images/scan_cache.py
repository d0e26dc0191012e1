"""What the last scan of a folder found, so that the next one decodes only new and changed images."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path

from ireasoner.trainer.images.folder_walk import FolderWalk

logger = logging.getLogger(__name__)

Size = tuple[int, int]
"""Width and height in pixels."""


class ScanCache:
    """The sizes of a folder's images, in a file under `$IREASONER_CACHE` (default: `~/.cache/ireasoner`).

    An entry holds as long as the file's size in bytes and its time of change do. Unreadable images are not remembered.
    A cache that cannot be read or written costs time, nothing else.

    Args:
        folder: The folder of images.
    """

    def __init__(self, folder: Path) -> None:
        home = Path(os.environ.get("HOME", tempfile.gettempdir()))
        cache = Path(os.environ.get("IREASONER_CACHE") or home / ".cache" / "ireasoner")
        digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
        self._file = cache / "images" / f"{digest}.json"
        self._known: dict[str, tuple[int, ...]] = {}

    def read(self, walk: FolderWalk) -> dict[str, Size]:
        """The known size in pixels of each file of `walk` that has not changed, by name."""
        try:
            remembered = json.loads(self._file.read_text(encoding="utf-8"))
            self._known = {
                name: tuple(entry)
                for name, entry in remembered.items()
                if len(entry) == 4 and tuple(entry[:2]) == walk.files.get(name)
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            logger.warning("images: the cache %s is ignored: %s", self._file, error)
        return {name: (width, height) for name, (_, _, width, height) in self._known.items()}

    def write(self, walk: FolderWalk, sizes: dict[str, Size]) -> None:
        """Remembers the sizes in pixels of files of `walk`, by name, and nothing else."""
        entries = {name: (*walk.files[name], *size) for name, size in sizes.items()}
        if entries == self._known:
            return
        partial = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(entries), encoding="utf-8")
            partial.replace(self._file)
        except OSError as error:
            logger.debug("images: the cache %s is not written: %s", self._file, error)
            with contextlib.suppress(OSError):
                partial.unlink()
