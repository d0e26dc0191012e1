"""What the commands of this package share: how settings are read, and how errors are told."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console

from ireasoner.clients import RewardError
from ireasoner.trainer.errors import TrainerError
from ireasoner.trainer.settings import describe


class CommandSettings(BaseSettings):
    """Settings that are given as flags."""

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
    """Does the work, and exits: with what it returns, 1 for an error that is told, 2 for a wrong flag, 130 on Ctrl+C.

    Args:
        name: What the command is called in messages.
        settings: What it is told.
        work: What it does; returns the exit status.
        arguments: Its flags (default: those of the process).
        interrupted: What Ctrl+C is answered with.
    """
    console = Console()
    try:
        status = work(CliApp.run(settings, list(sys.argv[1:] if arguments is None else arguments)), console)
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
