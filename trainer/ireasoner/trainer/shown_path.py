"""Paths in messages."""

import os
from pathlib import Path


def shown(path: Path | str) -> str:
    """A path for a message; bytes of its name that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
