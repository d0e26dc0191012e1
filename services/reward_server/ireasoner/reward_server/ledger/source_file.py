"""A file of groups that can be imported: what kind it is, whose groups it holds, and what they were scored with."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from ireasoner.reward_server.ledger import run_lines
from ireasoner.reward_server.ledger.run_lines import Json, Kind, Scoring, UnusableLine
from ireasoner.reward_server.ledger.schema import NO_SOURCE
from ireasoner.reward_server.scoring_config import PRESETS, ConfigOverrides

GROUPS = "groups.jsonl"
SETTINGS = "settings.json"
MAX_SOURCE = 256
"""Characters of a source's name on the wire."""


class NothingToImport(Exception):
    """A file cannot be imported at all; the message names it and says why."""


class SourceFile:
    """A file of groups.

    Args:
        path: The file, or a run folder.
        source: Name of the run; None: that of a run's folder, or of another file. An export names its runs itself.

    Raises:
        NothingToImport: There is no such file, or none of its lines is a group.
    """

    def __init__(self, path: Path, source: str | None) -> None:
        self.path = path / GROUPS if path.is_dir() else path
        self.source = (source or _name(self.path.resolve()) or NO_SOURCE)[:MAX_SOURCE]
        self.kind: Kind = self._kind(path)
        self.size = self.path.stat().st_size
        self.written_s = self.path.stat().st_mtime
        settings = self.path.with_name(SETTINGS)
        self.scoring = _scoring(settings) if self.kind == "run" and settings.is_file() else None

    def _kind(self, given: Path) -> Kind:
        try:
            return self._kind_of_first_group()
        except FileNotFoundError as error:
            what = f"contains no run: {GROUPS} is missing" if given.is_dir() else "there is no such file"
            raise NothingToImport(f"{given}: {what}") from error
        except OSError as error:
            raise NothingToImport(f"{self.path}: {error.strerror}") from error

    def _kind_of_first_group(self) -> Kind:
        reason = " is empty"
        for number, (_, text) in enumerate(lines_of(self.path), start=1):
            if text.strip():
                try:
                    return run_lines.kind_of(parsed(text))
                except UnusableLine as error:
                    reason = f", line {number}: {error}" if reason == " is empty" else reason
        raise NothingToImport(f"{self.path}{reason}")


def _name(file: Path) -> str:
    return file.parent.name if file.name == GROUPS else file.stem


def check_apart(files: Sequence[SourceFile]) -> None:
    """Raises NothingToImport if two different runs have one name: their updates would be counted together."""
    runs: dict[str, Path] = {}
    for file in files:
        if file.kind == "run":
            other = runs.setdefault(file.source, file.path)
            if other.resolve() != file.path.resolve():
                raise NothingToImport(
                    f"{other} and {file.path} are both called {file.source!r}: import each alone, with its own --source"
                )


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, each with its offset in bytes."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            yield offset, line
            offset += len(line)


def parsed(line: bytes) -> Json:
    """The object of a line.

    Raises:
        UnusableLine: It is not a JSON object.
    """
    try:
        value = orjson.loads(line)
    except ValueError as error:
        raise UnusableLine(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnusableLine("not a JSON object")
    return value


def named_scoring(overrides: ConfigOverrides) -> Scoring | None:
    """The scoring of a preset, or of overrides of one; None if the name is not a preset's."""
    base = PRESETS.get(overrides.preset)
    if base is None:
        return None
    return Scoring(overrides.config_label, overrides.on(base))


def _scoring(settings: Path) -> Scoring | None:
    """The scoring config of a run's settings; None if they do not say, or name one that is not a preset."""
    try:
        reward: Any = orjson.loads(settings.read_bytes())["reward"]
        overrides = ConfigOverrides.model_validate(
            {**reward.get("overrides", {}), "preset": reward["config"]}
        )
    except (OSError, ValueError, ValidationError, KeyError, TypeError, AttributeError):
        return None
    return named_scoring(overrides)
