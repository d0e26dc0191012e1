"""What these commands have in common: flags, progress, and how they end.

A command ends with 0 if it did its work, with 1 if the work failed or was done in part, with 2 if its flags or inputs
are wrong, and with 130 after Ctrl-C; its help names further statuses. Messages go to standard error, one per fault. A
trace means a defect of ours.
"""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic_settings import BaseSettings, SettingsConfigDict

from ireasoner.compat.flags import FlagsError, read_flags
from ireasoner.reward_server.ledger.schema import LedgerUnusable
from ireasoner.reward_server.ledger.source_file import NothingToImport

DONE = 0
PARTLY = FAILED = 1
WRONG = 2
INTERRUPTED = 130
CONTINUES = "interrupted; start the command again to continue"

_ON_TERMINAL_S = 0.2
_IN_LOG_S = 15.0
"""Seconds between two lines of progress."""


class CommandSettings(BaseSettings):
    """Settings given as flags."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
    )


class InputError(Exception):
    """An input cannot be used; the message names it and says what to do."""


class WorkFailed(Exception):
    """The inputs are right, and the work could not be done; the message says what to do."""


Settings = TypeVar("Settings", bound=CommandSettings)


def run_command(
    name: str,
    settings: type[Settings],
    work: Callable[[Settings], int],
    words: Sequence[str],
    *,
    interrupted: str = "interrupted",
) -> None:
    """Reads the flags in `words`, runs `work` and ends the process with its status, or as the module says.

    Args:
        name: The command, for messages.
        settings: The class of its settings.
        work: Does the work; returns the exit status.
        words: Its flags.
        interrupted: The message after Ctrl-C.
    """
    try:
        status = work(read_flags(settings, words))
        sys.stdout.flush()
    except FlagsError as error:
        status = _failed(name, f"{error}\n`{name} --help` lists the flags", WRONG)
    except (InputError, NothingToImport, LedgerUnusable) as error:
        status = _failed(name, str(error), WRONG)
    except WorkFailed as error:
        status = _failed(name, str(error), FAILED)
    except BrokenPipeError:  # the reader of the output closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the last flush goes
        status = 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None:
            raise
        status = _failed(name, f"{error.filename}: {error.strerror}", WRONG)
    except sqlite3.Error as error:  # damaged further in, or its disk is full
        status = _failed(name, f"the ledger cannot be used: {error}", WRONG)
    except KeyboardInterrupt:
        status = _failed(name, interrupted, INTERRUPTED)
    sys.exit(status)


def _failed(name: str, message: str, status: int) -> int:
    for line in message.splitlines():
        print(f"{name}: {line}", file=sys.stderr)
    return status


class Progress:
    """Shows on standard error how far a command is: one line that changes on a terminal, some lines in a log."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_s = time.monotonic() if not self._is_terminal else 0.0
        self._is_open = False

    def show(self, text: str) -> None:
        """Shows the text, unless one was shown a moment ago."""
        now_s = time.monotonic()
        if now_s - self._shown_s < (_ON_TERMINAL_S if self._is_terminal else _IN_LOG_S):
            return
        self._shown_s = now_s
        if self._is_terminal:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            self._is_open = True
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Removes the line, so that other output can follow."""
        if self._is_open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._is_open = False
