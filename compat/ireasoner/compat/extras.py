"""Names the missing extra of a command: an installer adds entry points whether or not their extra is installed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(extra: str, command: str) -> Iterator[None]:
    """Ends the process with 1 and one line on stderr if an import fails for want of a package of `extra`.

    Other import errors, including those about modules of this project, are raised unchanged.
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
