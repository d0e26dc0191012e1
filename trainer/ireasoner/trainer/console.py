"""How a command ends: 0 if it did its work, 2 if its flags, settings or inputs are wrong, 1 if it failed at run time.

After Ctrl-C it ends with 130; a run that a signal ended, with 128 plus the signal's number.

Messages go to standard error, one per fault. A trace means a defect of ours: what a user can act on has none.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from ireasoner.clients import RewardError
from ireasoner.compat.flags import FlagsError
from ireasoner.trainer.errors import TrainerError

USAGE_ERROR = 2
FAILURE = 1
INTERRUPTED = 130


@contextmanager
def errors_reported(command: str, *, interrupted: str = "interrupted") -> Iterator[Console]:
    """Ends the process with a message after an error that the user can act on, and after Ctrl-C.

    Args:
        command: The command's name in messages.
        interrupted: The message after Ctrl-C.
    """
    try:
        yield Console()
    except FlagsError as error:
        _end(command, f"{error}\n`{command} --help` lists the flags", USAGE_ERROR)
    except (TrainerError, RewardError) as error:
        _end(command, str(error), error.exit_status if isinstance(error, TrainerError) else FAILURE)
    except OSError as error:
        if error.filename is None:
            raise
        _end(command, f"{error.filename}: {error.strerror}", FAILURE)
    except KeyboardInterrupt as signal:
        _end(command, str(signal) or interrupted, getattr(signal, "exit_code", INTERRUPTED), style="yellow")


def _end(command: str, message: str, status: int, style: str = "red") -> None:
    console = Console(stderr=True)
    console.print(f"{command}: {message}", style=style, markup=False, highlight=False, soft_wrap=True)
    sys.exit(status)
