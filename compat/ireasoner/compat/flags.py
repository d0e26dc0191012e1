"""Settings from the words of a command line, with faults that name the setting and suggest the one that was meant."""

import argparse
import os
import typing
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import pydantic_settings
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, CliSettingsSource, CliUnknownArgs

from ireasoner.compat.help_text import HelpText
from ireasoner.compat.spelling import did_you_mean

Settings = TypeVar("Settings", bound=BaseSettings)

_UNPARSED = "Parsing error encountered for "
_UNRECOGNIZED = "unrecognized arguments: "
_UNKNOWN_FLAGS = next(mark for mark in typing.get_args(CliUnknownArgs)[1:] if isinstance(mark, type))
"""Marks a field that holds the flags of another program: no variable sets it."""


class FlagsError(Exception):
    """A flag, or the setting that it overrides, is missing, unknown or wrong; the message has one line per fault."""


def read_flags(settings: type[Settings], words: Sequence[str], **fields: Any) -> Settings:
    """The settings from the flags in `words`, which override `fields`, and from the environment; `--help` ends here.

    Raises:
        FlagsError: A setting is missing, unknown or wrong, or a variable with the settings' prefix is not one of them.
    """
    _refuse_unknown_variables(settings)
    source: CliSettingsSource[Any] = CliSettingsSource(
        settings, formatter_class=HelpText, cli_exit_on_error=False
    )
    try:
        return CliApp.run(settings, list(words), cli_settings_source=source, **fields)
    except ValidationError as error:
        raise FlagsError(describe(error, settings, flags=True)) from error
    except pydantic_settings.SettingsError as error:
        raise FlagsError(_flag_fault(str(error), set(_flags(source.root_parser)))) from error


def describe(error: ValidationError, settings: type[BaseModel], *, flags: bool = False) -> str:
    """One line per fault: the setting, what is wrong with it, and for an unknown one what was probably meant.

    Args:
        error: The faults.
        settings: The class that was validated.
        flags: Whether a missing setting is named by its flag.
    """
    return "\n".join(_line(fault, settings, flags) for fault in error.errors())


def _line(fault: ErrorDetails, settings: type[BaseModel], flags: bool) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{_flag(name) if flags else name} is required"
    if fault["type"] == "extra_forbidden":
        return _unknown(name, fault["loc"], settings)
    reason, given = fault["msg"], fault["input"]
    if fault["type"] == "value_error":
        reason = reason.removeprefix("Value error, ")
    elif isinstance(given, str | int | float):
        reason += f", not {given!r}"
    return f"{name}: {reason}" if name else reason


def _unknown(name: str, loc: tuple[int | str, ...], settings: type[BaseModel]) -> str:
    path = [str(part) for part in loc[:-1]]
    table: type[BaseModel] | None = settings
    for part in path:
        table = _table(table, part)
    if table is None:
        return f"{name}: there is no such setting"
    known = sorted(".".join((*path, field)) for field in table.model_fields)
    meant = did_you_mean(name, known) or did_you_mean(name, setting_names(settings))
    of = f" of {'.'.join(path)}" if path else ""
    return f"{name}: there is no such setting{meant or '.'} The settings{of} are {', '.join(known)}"


def setting_names(settings: type[BaseModel]) -> Iterator[str]:
    """The name of every setting, those of tables with dots: `lora.r`."""
    for name in settings.model_fields:
        table = _table(settings, name)
        if table is None:
            yield name
        else:
            yield from (f"{name}.{inner}" for inner in setting_names(table))


def _table(settings: type[BaseModel] | None, name: str) -> type[BaseModel] | None:
    """The class of the table `name`; None if it is a plain setting, or unknown."""
    field = settings.model_fields.get(name) if settings is not None else None
    if field is None:
        return None
    kinds = (field.annotation, *typing.get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _flag_fault(message: str, known: Collection[str]) -> str:
    """What argparse, or the parser of a flag's value, says."""
    message = message.removeprefix("error parsing CLI: ")
    if message.startswith(_UNPARSED):
        name, _, reason = message.removeprefix(_UNPARSED).partition(":")
        return f"{_flag(name)}: write NAME=VALUE or a JSON object ({reason.strip()})"
    if not message.startswith(_UNRECOGNIZED):
        return message
    words = message.removeprefix(_UNRECOGNIZED).split()
    flags = [word.partition("=")[0] for word in words if word.startswith("-")]
    if not flags:
        return f"unexpected arguments: {' '.join(words)}"
    return "\n".join(f"{flag}: there is no such flag{_meant(flag, known)}" for flag in flags)


def _meant(flag: str, known: Collection[str]) -> str:
    table, dot, field = flag.partition(".")
    if dot and table in known and not any(other.startswith(f"{table}.") for other in known):
        return f"; write {table} {field}=VALUE"
    return did_you_mean(flag, known)


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every flag of a parser and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _flags(subparser)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _refuse_unknown_variables(settings: type[BaseSettings]) -> None:
    prefix = settings.model_config.get("env_prefix", "").upper()
    if not prefix:
        return
    known = {
        f"{prefix}{field.alias or name}".upper(): name
        for name, field in settings.model_fields.items()
        if _UNKNOWN_FLAGS not in field.metadata
    }
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(prefix) and name.upper() not in known
    )
    if unknown:
        raise FlagsError(
            "\n".join(f"{name}: there is no such variable{did_you_mean(name, known)}" for name in unknown)
        )
