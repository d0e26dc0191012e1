"""The files of the explorer, read once: a fixed table, so that no request can name another file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath

_FOLDER = "static"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE = "index.html"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file of the page; `etag` changes with its content."""

    content: bytes
    media_type: str
    etag: str


@cache
def static_files() -> Mapping[str, StaticFile]:
    """Every file by its name; the page itself is `PAGE`."""
    folder = files(__package__) / _FOLDER
    return {each.name: _read(each.name, each.read_bytes()) for each in folder.iterdir() if each.is_file()}


def _read(name: str, content: bytes) -> StaticFile:
    digest = hashlib.sha256(content).hexdigest()
    return StaticFile(content, _MEDIA_TYPES[PurePath(name).suffix], f'"{digest[:32]}"')
