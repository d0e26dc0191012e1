"""The trainer's subcommands of `ireasoner`: each is a settings class, whose fields are its flags.

What a subcommand needs beyond its settings is imported once these are read, so that `--help` is there at once.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, CliApp
from rich.console import Console

from ireasoner.clients import RewardError
from ireasoner.trainer.errors import SettingsError, TrainerError
from ireasoner.trainer.settings import describe

_Settings = TypeVar("_Settings", bound=BaseSettings)


def train(words: Sequence[str]) -> None:
    """Train on a folder of images, or print what a run would do."""
    with _errors_reported("train") as console:
        from ireasoner.trainer.settings import RunSettings, read_toml

        before = argparse.ArgumentParser(add_help=False)
        before.add_argument("--config", type=Path)
        config = before.parse_known_args(words)[0].config
        settings = _parsed(RunSettings, words, **(read_toml(config) if config else {}))

        if settings.dry_run:
            from ireasoner.trainer.commands.dry_run import show_plan

            show_plan(settings, console)
            return

        from ireasoner.trainer.loop.train import train

        train(settings, console)


def demo(words: Sequence[str]) -> None:
    """Run the whole loop on this machine."""
    with _errors_reported("demo") as console:
        from ireasoner.trainer.commands.demo_settings import DemoSettings

        settings = _parsed(DemoSettings, words)

        from ireasoner.trainer.commands.demo import demo

        demo(settings, console)


def evaluate(words: Sequence[str]) -> None:
    """Measure accuracy on labelled questions."""
    with _errors_reported("evaluate") as console:
        from ireasoner.trainer.commands.evaluate_settings import EvaluateSettings

        settings = _parsed(EvaluateSettings, words)

        from ireasoner.trainer.commands.evaluate import evaluate_policy

        evaluate_policy(settings, console)


def export(words: Sequence[str]) -> None:
    """Write what a run trained in a form that other software loads."""
    with _errors_reported("export") as console:
        from ireasoner.trainer.commands.export_settings import ExportSettings

        settings = _parsed(ExportSettings, words)

        from ireasoner.trainer.commands.export import export

        console.print(f"exported to {export(settings)}", highlight=False)


def report(words: Sequence[str]) -> None:
    """Write the report of one run folder, or of two side by side."""
    with _errors_reported("report") as console:
        from ireasoner.trainer.report import ReportSettings, write_comparison, write_report

        settings = _parsed(ReportSettings, words)
        first, *second = settings.run_folders
        page = (
            write_comparison(first, second[0], settings.output)
            if second
            else write_report(first, settings.output)
        )
        console.print(f"report: {page}", highlight=False)


@contextmanager
def _errors_reported(command: str) -> Iterator[Console]:
    """Ends the process with 1 and a message where the user can act on what went wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    for library in ("trl", "transformers", "accelerate", "vllm"):
        # What matters of theirs is a metric or an error of ours (a group without a reward, say).
        logging.getLogger(library).setLevel(logging.ERROR)
    console = Console()
    try:
        yield console
    except (TrainerError, RewardError) as error:
        message = f"ireasoner {command}: {error}"
        console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print(f"ireasoner {command}: interrupted", style="yellow")
        sys.exit(130)


def _parsed(settings: type[_Settings], words: Sequence[str], **fields: Any) -> _Settings:
    """The settings that the flags and `fields` give.

    Raises:
        SettingsError: They are missing or wrong; the message names them.
    """
    try:
        return CliApp.run(settings, list(words), **fields)
    except ValidationError as error:
        raise SettingsError(describe(error)) from error
