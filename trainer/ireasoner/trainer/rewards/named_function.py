"""Functions that a setting names as `module:function`."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from ireasoner.trainer.errors import SettingsError


def named_function(source: str) -> Callable[..., Any]:
    """The function `module:function`, of a module that Python finds.

    Raises:
        SettingsError: There is none.
    """
    module, _, name = source.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise SettingsError(f"{source} is not module:function: {error}") from error
    if not callable(function):
        raise SettingsError(f"{source} is not module:function: it cannot be called") from TypeError(
            "it cannot be called"
        )
    return function


def module_source(source: str) -> str:
    """The text of the module of `module:function`, which is there.

    Raises:
        SettingsError: It has none, as what is written in C.
    """
    try:
        return inspect.getsource(importlib.import_module(source.partition(":")[0]))
    except (OSError, TypeError) as error:
        raise SettingsError(f"{source}: the text of the module cannot be read: {error}") from error
