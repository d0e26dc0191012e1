"""A file that is written anew, and keeps what it held if that fails."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def written_anew(path: Path) -> Iterator[TextIO]:
    """What is written takes the place of `path` in the end.

    If the block raises, `path` stays as it was, and what was written is left beside it in `<name>.partial`,
    unless that is nothing. A pipe or a device is written to as it is.
    """
    is_device = path.is_relative_to("/dev")  # though /dev/stdout may lead to a file
    if path.exists() and (is_device or not path.is_file()):
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    target = path.resolve()
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
    except BaseException:
        if partial.exists() and not partial.stat().st_size:
            partial.unlink()
        raise
    if target.exists():
        shutil.copymode(target, partial)
    partial.replace(target)
