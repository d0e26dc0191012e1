"""One process records into a ledger's folder."""

import fcntl
import os
from pathlib import Path
from typing import Self, TextIO

from ireasoner.reward_server.ledger.schema import LedgerUnusable

FILE = ".lock"


class LedgerLocked(LedgerUnusable):
    """Another process records into the folder."""


class Lock:
    """The lock of a folder, which ends with the process; raises LedgerLocked or LedgerUnusable."""

    def __init__(self, folder: Path) -> None:
        file = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._stream: TextIO = file.open("a+")
        except OSError as error:
            raise LedgerUnusable(f"the ledger {folder} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._stream.seek(0)
            owner = self._stream.read(32).strip()
            self._stream.close()
            who = f"the process {owner}" if owner.isdecimal() else "another process"
            raise LedgerLocked(
                f"{who} records into {folder}; each server needs a ledger of its own: choose another folder"
            ) from error
        self._stream.truncate(0)
        self._stream.write(f"{os.getpid()}\n")
        self._stream.flush()

    def release(self) -> None:
        """Lets another process record into the folder."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
