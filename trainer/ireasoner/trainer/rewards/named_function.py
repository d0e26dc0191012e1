"""Functions named by a setting as `module:function`."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from ireasoner.trainer.errors import SettingsError


def named_function(source: str) -> Callable[..., Any]:
    """Imports the function `module:function`.

    Raises:
        SettingsError: There is no such function.
    """
    module, _, name = source.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        hint = "is its folder on PYTHONPATH?"
        raise SettingsError(f"{source} is not module:function: {error}; {hint}") from error
    except Exception as error:
        reason = error if isinstance(error, AttributeError | ImportError | ValueError) else repr(error)
        raise SettingsError(f"{source} is not module:function: {reason}") from error
    if not callable(function):
        raise SettingsError(f"{source} is not module:function: it is not callable") from TypeError(
            "it is not callable"
        )
    return function


def module_source(source: str) -> str:
    """The source text of the module of `module:function`.

    Raises:
        SettingsError: The module has no source, for example because it is written in C.
    """
    try:
        return inspect.getsource(importlib.import_module(source.partition(":")[0]))
    except (OSError, TypeError) as error:
        raise SettingsError(f"{source}: the source of the module cannot be read: {error}") from error
