"""Shared by the commands of this package: reading settings, and reporting errors."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, SettingsConfigDict
from rich.console import Console

from ireasoner.clients import RewardError
from ireasoner.compat.help_text import HelpText
from ireasoner.trainer.errors import TrainerError
from ireasoner.trainer.settings import describe


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
    """Runs `work` and exits: with its return value, 1 for a known error, 2 for a wrong flag, or 130 on Ctrl+C.

    Args:
        name: The name of the command in messages.
        settings: The class of its settings.
        work: The command itself; returns the exit status.
        arguments: Its flags (default: those of the process).
        interrupted: The message on Ctrl+C.
    """
    console = Console()
    try:
        flags = list(sys.argv[1:] if arguments is None else arguments)
        source: CliSettingsSource[Any] = CliSettingsSource(settings, formatter_class=HelpText)
        status = work(CliApp.run(settings, flags, cli_settings_source=source), console)
    except ValidationError as error:
        console.print(
            f"{name}: {describe(error)}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        status = 2
    except (TrainerError, RewardError) as error:
        console.print(f"{name}: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        status = 1
    except KeyboardInterrupt:
        console.print(f"{name}: {interrupted}", style="yellow", markup=False)
        status = 130
    sys.exit(status)
