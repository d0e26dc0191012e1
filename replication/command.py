"""Shared by the commands of this package: reading settings, and reporting errors."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.console import Console

from ireasoner.compat.flags import read_flags
from ireasoner.trainer.console import errors_reported


class CommandSettings(BaseSettings):
    """Settings given as flags."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
    )


Settings = TypeVar("Settings", bound=CommandSettings)


def run_command(
    name: str,
    settings: type[Settings],
    work: Callable[[Settings, Console], int],
    arguments: Sequence[str] | None,
    *,
    interrupted: str = "interrupted",
) -> None:
    """Runs `work` and exits with its return value, or as `ireasoner.trainer.console` says.

    Args:
        name: The module of the command, as in `python -m replication`.
        settings: The class of its settings.
        work: The command itself; returns the exit status.
        arguments: Its flags (default: those of the process).
        interrupted: The message on Ctrl+C.
    """
    words = sys.argv[1:] if arguments is None else arguments
    with errors_reported(f"python -m {name}", interrupted=interrupted) as console:
        status = work(read_flags(settings, words), console)
    sys.exit(status)
