"""A lock on a folder that one process at a time may write to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ireasoner.trainer.errors import RunFolderError

LOCK = ".lock"


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keeps a folder, made where it is missing, to this process while the block lasts; a killed process lets go.

    Raises:
        RunFolderError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunFolderError(
            f"{folder} is being written to by another process; wait for it, or end it"
        ) from error
    try:
        yield
    finally:
        lock.release()
