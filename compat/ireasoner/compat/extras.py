"""A command whose extra is not installed says so: an entry point cannot ask the installer for its extra."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(extra: str, command: str) -> Iterator[None]:
    """Ends the process with 1, and one line, where a module is missing that a package of `extra` would bring.

    Other errors of an import, also of modules of this project, go on as they are.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        if missing.split(".")[0] == "ireasoner":
            raise
        print(
            f"{command} needs its extra: pip install ./clients '.[{extra}]' (no module {missing})",
            file=sys.stderr,
        )
        sys.exit(1)
