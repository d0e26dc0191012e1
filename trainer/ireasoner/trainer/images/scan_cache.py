"""What the last scan of images found, so that the next one decodes only new and changed images."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

Found = tuple[int | str, ...]
"""What a scan found of an image: its width and height in pixels first."""


class ScanCache:
    """What is known of images, in a file under `$IREASONER_CACHE` (default: `~/.cache/ireasoner`).

    An entry holds as long as the image's stamp is the same. Unreadable images are not remembered. A cache that cannot
    be read or written costs time, nothing else.

    Args:
        key: Identifies where the images come from: the absolute path of a folder, say.
        stamps: Something of each image that changes with it, by name: size and time of change of a file.
        values: Number of values that a scan finds of an image.
    """

    def __init__(self, key: str, stamps: Mapping[str, tuple[int, int]], values: int) -> None:
        home = Path(os.environ.get("HOME", tempfile.gettempdir()))
        cache = Path(os.environ.get("IREASONER_CACHE") or home / ".cache" / "ireasoner")
        digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:16]
        self._file = cache / "images" / f"{digest}.json"
        self._stamps = stamps
        self._values = values
        self._known: dict[str, Found] = {}

    def read(self) -> dict[str, Found]:
        """What is known of each image that has not changed, by name."""
        try:
            remembered = json.loads(self._file.read_text(encoding="utf-8"))
            self._known = {
                name: tuple(entry) for name, entry in remembered.items() if self._is_current(name, entry)
            }
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            logger.warning("images: the cache %s is ignored: %s", self._file, error)
        return {name: entry[len(self._stamps[name]) :] for name, entry in self._known.items()}

    def _is_current(self, name: str, entry: list[int | str]) -> bool:
        stamp = self._stamps.get(name)
        return (
            stamp is not None
            and len(entry) == len(stamp) + self._values
            and tuple(entry[: len(stamp)]) == stamp
        )

    def write(self, found: Mapping[str, Found]) -> None:
        """Remembers what was found of images, by name, and nothing else."""
        entries = {name: (*self._stamps[name], *values) for name, values in found.items()}
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
