"""Puts the image files of a run into a ledger's store."""

import sqlite3
import time
from pathlib import Path

from ireasoner.reward_server.ledger import images
from ireasoner.reward_server.ledger.insert import insert_image


class ImagePut:
    """Puts images into the store of a ledger, for one experiment, within the caller's transaction.

    Args:
        connection: The ledger, open to write.
        folder: Its folder.
        experiment: Who is shown the images.
    """

    def __init__(self, connection: sqlite3.Connection, folder: Path, experiment: str) -> None:
        self._connection = connection
        self._folder = folder
        self._experiment = experiment

    def __call__(self, path: Path) -> str | None:
        """The SHA-256 of an image file, which is now in the store; None if it is gone or not an image."""
        try:
            if path.stat().st_size > images.MAX_BYTES:
                return None
            data = path.read_bytes()
            images.pixels(data)
            images.check_whole(data)
        except (OSError, ValueError, images.NotAnImage):  # ValueError: a NUL in the path
            return None
        sha256 = images.digest(data)
        images.store(self._folder, sha256, data)
        insert_image(self._connection, sha256, self._experiment, len(data), time.time())
        return sha256
