"""The trainer's subcommands of `ireasoner`, each called with the words that follow its name.

A subcommand's flags are the fields of its settings. What it needs beyond them is imported only once they are valid, so
that `--help` and a wrong flag are answered at once.
"""

import functools
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pydantic_settings
from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource
from rich.console import Console

from ireasoner.clients import RewardError
from ireasoner.compat.help_text import HelpText
from ireasoner.trainer.commands.settings import DemoSettings, EvaluateSettings, ExportSettings, ReportSettings
from ireasoner.trainer.errors import RunInterrupted, SettingsError, TrainerError
from ireasoner.trainer.settings import RunSettings, describe, read_config

_Settings = TypeVar("_Settings", bound=BaseSettings)


def _no_defaults(words: Sequence[str]) -> Mapping[str, Any]:
    return {}


def _subcommand(
    settings: type[_Settings], defaults: Callable[[Sequence[str]], Mapping[str, Any]] = _no_defaults
) -> Callable[[Callable[[_Settings, Console], None]], Callable[[Sequence[str]], None]]:
    """Turns a function of settings and console into a subcommand.

    Args:
        settings: The class whose fields are the flags.
        defaults: Gives the values that flags override.
    """

    def decorate(run: Callable[[_Settings, Console], None]) -> Callable[[Sequence[str]], None]:
        @functools.wraps(run)
        def subcommand(words: Sequence[str]) -> None:
            with _errors_reported(run.__name__) as console:
                run(_parsed(settings, words, **defaults(words)), console)

        return subcommand

    return decorate


@_subcommand(DemoSettings)
def demo(settings: DemoSettings, console: Console) -> None:
    """Run the whole loop on this machine."""
    from ireasoner.trainer.commands.demo import demo

    demo(settings, console)


@_subcommand(RunSettings, defaults=read_config)
def train(settings: RunSettings, console: Console) -> None:
    """Train on a folder of images, or print what a run would do."""
    if settings.dry_run:
        from ireasoner.trainer.commands.dry_run import show_plan

        show_plan(settings, console)
    else:
        from ireasoner.trainer.loop.train import train

        train(settings, console)


@_subcommand(EvaluateSettings)
def evaluate(settings: EvaluateSettings, console: Console) -> None:
    """Measure accuracy on labelled questions."""
    from ireasoner.trainer.commands.evaluate import evaluate_policy

    evaluate_policy(settings, console)


@_subcommand(ExportSettings)
def export(settings: ExportSettings, console: Console) -> None:
    """Write a trained adapter in a form that other software loads."""
    from ireasoner.trainer.commands.export import export

    console.print(f"exported to {export(settings)}", highlight=False, soft_wrap=True)


@_subcommand(ReportSettings)
def report(settings: ReportSettings, console: Console) -> None:
    """Write the report of one run folder, or of two side by side."""
    from ireasoner.trainer.report import write_comparison, write_report

    match settings.run_folders:
        case [first, second]:
            page = write_comparison(first, second, settings.output)
        case [only]:
            page = write_report(only, settings.output)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)


@contextmanager
def _errors_reported(command: str) -> Iterator[Console]:
    """Ends the process with 1 and a message after an error that the user can act on.

    After a signal the exit code is 128 plus its number: 130 after Ctrl-C, 143 after SIGTERM.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    for library in ("trl", "transformers", "accelerate", "vllm"):
        # Their warnings that matter here are metrics or errors of the trainer (a group without rewards, say).
        logging.getLogger(library).setLevel(logging.ERROR)
    console = Console()
    try:
        yield console
    except (TrainerError, RewardError) as error:
        message = f"ireasoner {command}: {error}"
        console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except RunInterrupted as interruption:
        console.print(f"ireasoner {command}: {interruption}", style="yellow")
        sys.exit(interruption.exit_code)
    except KeyboardInterrupt:
        console.print(f"ireasoner {command}: interrupted", style="yellow")
        sys.exit(130)


def _parsed(settings: type[_Settings], words: Sequence[str], **fields: Any) -> _Settings:
    """The settings from the flags in `words`, which override `fields`.

    Raises:
        SettingsError: A setting is missing or wrong; the message names it.
    """
    source: CliSettingsSource[Any] = CliSettingsSource(settings, formatter_class=HelpText)
    try:
        return CliApp.run(settings, list(words), cli_settings_source=source, **fields)
    except ValidationError as error:
        raise SettingsError(describe(error)) from error
    except pydantic_settings.SettingsError as error:
        raise SettingsError(str(error)) from error
