"""The little of pydantic-settings that a run's settings need where no flags are read, for machines without it."""

import sys
from importlib.util import find_spec
from types import ModuleType


def install() -> None:
    """Makes `pydantic_settings` importable, unless it is installed."""
    if "pydantic_settings" in sys.modules or find_spec("pydantic_settings") is not None:
        return
    from pydantic import BaseModel

    module = ModuleType("pydantic_settings")
    for name, value in {
        "BaseSettings": BaseModel,
        "SettingsConfigDict": dict,
        "PydanticBaseSettingsSource": object,
        "CliSettingsSource": object,
        "CliApp": object,
    }.items():
        setattr(module, name, value)
    sys.modules[module.__name__] = module
