"""How many examples a test with Hypothesis tries."""

import os

LEAST = 10


def examples(number: int) -> int:
    """`number` in `make test-all`; a third of it in `make test`."""
    return number if os.environ.get("ALL_EXAMPLES") else max(number // 3, LEAST)
