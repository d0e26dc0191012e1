"""Loggers are silent while a block of any thread lasts, and then as before."""

import logging
from contextlib import ExitStack

import pytest

from ireasoner.trainer.silenced import silenced

LIBRARY = logging.getLogger("a_library")


def test_the_last_block_restores_the_level_whichever_ends_first() -> None:
    LIBRARY.setLevel(logging.INFO)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(silenced("a_library", "another"))
        second.enter_context(silenced("a_library"))
        assert not LIBRARY.getChild("part").isEnabledFor(logging.ERROR)
        first.close()
        assert not LIBRARY.isEnabledFor(logging.ERROR)
        second.close()
        assert LIBRARY.level == logging.INFO
    assert logging.getLogger("another").level == logging.NOTSET


def test_an_error_restores_the_level() -> None:
    LIBRARY.setLevel(logging.WARNING)
    with pytest.raises(KeyError), silenced("a_library"):
        dict[str, int]()["x"]
    assert LIBRARY.level == logging.WARNING
