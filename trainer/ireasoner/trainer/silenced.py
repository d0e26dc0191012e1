"""Silences libraries that report an error before they raise it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silenced(*names: str, level: int = logging.CRITICAL) -> Iterator[None]:
    """Raises the level of some loggers while the block lasts; the error that is raised reports the rest."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(level)
    try:
        yield
    finally:
        for each, before in zip(loggers, levels, strict=True):
            each.setLevel(before)
