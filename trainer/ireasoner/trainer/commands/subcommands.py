"""The trainer's subcommands of `ireasoner`, each called with the words that follow its name.

A subcommand's flags are the fields of its settings. The module that does its work is imported only once they are valid,
so that `--help` and a wrong flag are answered at once.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from pydantic_settings import BaseSettings

from ireasoner.compat.extras import needs_extra
from ireasoner.compat.flags import read_flags
from ireasoner.trainer.commands.settings import (
    DemoSettings,
    EvaluateSettings,
    ExportSettings,
    GraftSettings,
    ReportSettings,
)
from ireasoner.trainer.console import errors_reported
from ireasoner.trainer.settings import RunSettings, read_config


def _no_defaults(words: Sequence[str]) -> Mapping[str, Any]:
    return {}


def _subcommand(
    name: str,
    settings: type[BaseSettings],
    module: str,
    defaults: Callable[[Sequence[str]], Mapping[str, Any]] = _no_defaults,
) -> Callable[[Sequence[str]], None]:
    """A subcommand.

    Args:
        name: Its name.
        settings: The class whose fields are the flags.
        module: Module of the trainer whose `main` does the work, with the settings and a console.
        defaults: Gives the values that flags override.
    """

    def subcommand(words: Sequence[str]) -> None:
        _silence_libraries()
        with errors_reported(f"ireasoner {name}") as console:
            given = read_flags(settings, words, **defaults(words))
            with needs_extra("trainer", command=f"ireasoner {name}"):
                main = import_module(f"ireasoner.trainer.{module}").main
            main(given, console)

    return subcommand


def _silence_libraries() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    for library in ("trl", "transformers", "accelerate", "vllm"):
        # Their warnings that matter here are metrics or errors of the trainer (a group without rewards, say).
        logging.getLogger(library).setLevel(logging.ERROR)


demo = _subcommand("demo", DemoSettings, "commands.demo")
train = _subcommand("train", RunSettings, "commands.train", defaults=read_config)
evaluate = _subcommand("evaluate", EvaluateSettings, "commands.evaluate")
export = _subcommand("export", ExportSettings, "commands.export")
graft = _subcommand("graft", GraftSettings, "commands.graft")
report = _subcommand("report", ReportSettings, "commands.report")
