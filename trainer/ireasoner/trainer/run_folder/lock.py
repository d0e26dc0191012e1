"""A lock on a folder that only one process at a time may write to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ireasoner.trainer.errors import RunFolderError

LOCK = ".lock"


def refuse_locked(folder: Path) -> None:
    """Finds another writer of a folder without creating anything. Raises RunFolderError as `sole_writer` does."""
    if (folder / LOCK).exists():
        with sole_writer(folder):
            pass


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Locks a folder, which it creates if necessary, for this process; the lock ends with the block or the process.

    Raises:
        RunFolderError: Another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunFolderError(
            f"{folder} is being written to by another process; wait for it, or stop it"
        ) from error
    try:
        yield
    finally:
        lock.release()
