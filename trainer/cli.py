"""The command `ireasoner`: each subcommand is a settings class, whose fields are its flags."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from compat.extras import needs_extra

with needs_extra("trainer", command="ireasoner"):
    from pydantic import ValidationError
    from pydantic_settings import BaseSettings, CliApp
    from rich.console import Console

    from clients import RewardError
    from trainer.errors import SettingsError, TrainerError
    from trainer.settings import describe

_Settings = TypeVar("_Settings", bound=BaseSettings)

_DESCRIPTION = "Reinforcement learning without labels for vision-language models."


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one subcommand; exits with 1 and a message where the user can act on what went wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, tuple[str, Callable[[list[str], Console], None]]] = {
        "demo": ("the whole loop on this machine: servers, training, evaluation, report", _demo),
        "train": ("train on a folder of images, against running servers", _train),
        "evaluate": ("accuracy on labelled questions, through a running server", _evaluate),
        "export": ("write what a run trained as an adapter or as merged weights", _export),
        "report": ("write the HTML report of a run folder, or of two side by side", _report),
    }
    listing = "\n".join(f"  {name:10s} {text}" for name, (text, _) in commands.items())
    parser = argparse.ArgumentParser(
        prog="ireasoner",
        description=_DESCRIPTION,
        epilog=f"commands:\n{listing}\n\n`ireasoner COMMAND --help` tells the flags of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=list(commands), metavar="COMMAND")
    command = parser.parse_args(words[:1]).command
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    for library in ("trl", "transformers", "accelerate", "vllm"):
        # What matters of theirs is a metric or an error of ours (a group without a reward, say).
        logging.getLogger(library).setLevel(logging.ERROR)
    console = Console()
    try:
        with needs_extra("trainer", command="ireasoner"):
            commands[command][1](words[1:], console)
    except (TrainerError, RewardError) as error:
        told = f"ireasoner {command}: {error}"
        console.print(told, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print(f"ireasoner {command}: interrupted", style="yellow")
        sys.exit(130)


def _train(words: list[str], console: Console) -> None:
    from trainer.settings import RunSettings, read_toml

    before = argparse.ArgumentParser(add_help=False)
    before.add_argument("--config", type=Path)
    config = before.parse_known_args(words)[0].config
    settings = _parsed(RunSettings, words, **(read_toml(config) if config else {}))

    if settings.dry_run:
        from trainer.dry_run import show_plan

        show_plan(settings, console)
        return

    from trainer.train import train

    train(settings, console)


def _demo(words: list[str], console: Console) -> None:
    from trainer.demo_settings import DemoSettings

    settings = _parsed(DemoSettings, words)

    from trainer.demo import demo

    demo(settings, console)


def _evaluate(words: list[str], console: Console) -> None:
    from trainer.evaluate_settings import EvaluateSettings

    settings = _parsed(EvaluateSettings, words)

    from trainer.evaluate import evaluate_policy

    evaluate_policy(settings, console)


def _export(words: list[str], console: Console) -> None:
    from trainer.export_settings import ExportSettings

    settings = _parsed(ExportSettings, words)

    from trainer.export import export

    console.print(f"exported to {export(settings)}", highlight=False)


def _report(words: list[str], console: Console) -> None:
    from trainer.report import ReportSettings, write_comparison, write_report

    settings = _parsed(ReportSettings, words)
    first, *second = settings.run_folders
    page = (
        write_comparison(first, second[0], settings.output)
        if second
        else write_report(first, settings.output)
    )
    console.print(f"report: {page}", highlight=False)


def _parsed(settings: type[_Settings], words: list[str], **fields: Any) -> _Settings:
    """The settings that the flags and `fields` give.

    Raises:
        SettingsError: They are missing or wrong; the message names them.
    """
    try:
        return CliApp.run(settings, words, **fields)
    except ValidationError as error:
        raise SettingsError(describe(error)) from error
