"""Silences libraries that report an error before they raise it."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_silencing: Counter[str] = Counter()
_levels: dict[str, int] = {}


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Silences loggers, but for critical records, while the block of any thread lasts; the error reports the rest."""
    with _lock:
        for name in names:
            if not _silencing[name]:
                _levels[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(logging.CRITICAL)
            _silencing[name] += 1
    try:
        yield
    finally:
        with _lock:
            for name in names:
                _silencing[name] -= 1
                if not _silencing[name]:
                    logging.getLogger(name).setLevel(_levels[name])
