"""Where a command may write: found out before the work begins, not when it is done."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ireasoner.trainer.errors import SettingsError


def require_folder(setting: str, folder: Path) -> None:
    """Finds out whether a folder can be written to, or made.

    Args:
        setting: The setting that names it.
        folder: The folder.

    Raises:
        SettingsError: It is a file, is inside a file, or may not be written to.
    """
    absolute = folder.absolute()
    nearest = next(path for path in (absolute, *absolute.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        where = f"{folder} is not a folder" if nearest == absolute else f"{nearest} is not a folder"
        raise SettingsError(f"{setting}: {where}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SettingsError(f"{setting}: {nearest} may not be written to")


def require_file(setting: str, file: Path) -> None:
    """Finds out whether a file can be written; see `require_folder`.

    Raises:
        SettingsError: It is a folder, or its folder cannot be made or written to.
    """
    if file.is_dir():
        raise SettingsError(f"{setting}: {file} is a folder, not a file")
    require_folder(setting, file.absolute().parent)


@contextmanager
def new_folder(setting: str, folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name only when the block ends without an error.

    Its files get the permissions of any new file; safetensors makes them private, whatever the umask.

    Args:
        setting: The setting that names it.
        folder: Its name.

    Raises:
        SettingsError: The name is taken, or the folder cannot be made.
    """
    folder = folder.expanduser()
    if os.path.lexists(folder):
        raise SettingsError(f"{setting}: {folder} exists already")
    require_folder(setting, folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        new = partial / ".new"
        new.touch()
        for file in filter(Path.is_file, partial.rglob("*")):
            shutil.copymode(new, file)
        new.unlink()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
