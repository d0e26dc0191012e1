"""Why a ledger cannot be written."""

import errno
import sqlite3
from typing import Literal

Fault = Literal["disk_full", "locked", "corrupt", "write_failed"]


class LogBusy(Exception):
    """A long read of another process keeps the write-ahead log from being emptied."""


_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def fault_of(error: BaseException) -> Fault:
    """The fault behind an error, or behind the error that caused it."""
    match error:
        case sqlite3.Error() if (code := _code(error)) is not None:
            if code == sqlite3.SQLITE_FULL:
                return "disk_full"
            return "locked" if code in _LOCKED else "corrupt" if code in _CORRUPT else "write_failed"
        case LogBusy():
            return "locked"
        case OSError() if error.errno in _FULL_ERRNOS:
            return "disk_full"
        case BaseException(__cause__=BaseException() as cause):
            return fault_of(cause)
    return "write_failed"


def is_of_the_ledger(error: Exception) -> bool:
    """Whether an error is the ledger's, not that of the record which was being inserted."""
    return isinstance(error, OSError | sqlite3.OperationalError) or fault_of(error) == "corrupt"


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None if the error is not from SQLite itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
