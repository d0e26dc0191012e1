"""The run folder: everything that a run writes.

settings.json      the resolved settings
images.json        the images that it uses, and those that it leaves out
stream.jsonl       the windows of images that were read, of a run that streams
metrics.jsonl      one line per update
groups.jsonl       one line per group: image, proposal, question, rollouts, rewards
collapse.json      where the guard saw the likely onset of collapse, if it did
adapters/          the published versions that are still served
checkpoints/       what the run can resume from
tensorboard/       the same metrics, for TensorBoard
final/             the two adapters as peft folders
.lock              held by the process that trains
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ireasoner.compat.flags import describe
from ireasoner.trainer.errors import RunFolderError, SettingsError
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.whole_file import write_whole

_LOGS = ("metrics.jsonl", "groups.jsonl")
COLLAPSE_MARK = "collapse.json"
_STREAM = "stream.jsonl"


class CollapseMark(BaseModel):
    """The likely onset of collapse, as `collapse.json` holds it.

    Attributes:
        update: The update that showed it, from 1.
        signs: The metrics that showed it, each with the reason.
        checkpoint: The newest checkpoint before it, which is kept; None if there was none yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    update: int
    signs: dict[str, str]
    checkpoint: str | None


class RunFolder:
    """Writes to one run folder.

    Args:
        settings: The run; they name the folder and say whether to resume the run in it.

    Attributes:
        writes: Whether this process writes the logs; if not, nothing is written or truncated.

    Raises:
        SettingsError: The folder already contains a run, or none to resume, or one with other settings.
    """

    def __init__(self, settings: RunSettings) -> None:
        refuse_other_run(settings)
        self.path = path = settings.run_folder
        self.writes = True
        if not settings.resume:
            _clear(path)
        write_whole(path / "settings.json", settings.model_dump_json(indent=2) + "\n")

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def stream(self) -> Path:
        """The windows of images that were read, of a run that streams."""
        return self.path / _STREAM

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def final(self) -> Path:
        """Folder of the trained adapters."""
        return self.path / "final"

    @property
    def groups(self) -> Path:
        """The log of groups."""
        return self.path / "groups.jsonl"

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Appends the metrics of one update.

        Raises:
            RunFolderError: The log could not be written (a full disk, say); checkpoints are unchanged.
        """
        self._append("metrics.jsonl", metrics)

    def append_group(self, group: Mapping[str, Any]) -> None:
        """Appends one group with its rollouts and rewards; raises as `append_metrics` does."""
        self._append("groups.jsonl", group)

    def log_bytes(self) -> dict[str, int]:
        """The length of each log in bytes, by name."""
        return {name: (self.path / name).stat().st_size for name in _LOGS if (self.path / name).exists()}

    def cut_logs(self, log_bytes: Mapping[str, int]) -> None:
        """Truncates the logs to their lengths at a checkpoint; a log that did not exist then is emptied."""
        for name in _LOGS:
            if self.writes and (self.path / name).exists():
                os.truncate(self.path / name, log_bytes.get(name, 0))

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        if not self.writes:
            return
        path = self.path / name
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        except OSError as error:
            raise RunFolderError(f"{path} could not be written: {error.strerror}") from error


def read_settings(path: Path) -> dict[str, Any]:
    """The settings.json of a run, of any version.

    Raises:
        SettingsError: The file is missing: the folder contains no run.
        RunFolderError: It does not hold the settings of a run.
    """
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"{path.parent} contains no run: {path.name} is missing") from error
    except OSError as error:
        raise SettingsError(f"{path.parent} contains no run: {path}: {error.strerror}") from error
    except ValueError as error:
        raise RunFolderError(f"{path}: not JSON: {error}") from error
    if not isinstance(settings, dict) or "model" not in settings:
        raise RunFolderError(f"{path}: not the settings of a run")
    return settings


def read_collapse_mark(run_folder: Path) -> CollapseMark | None:
    """The mark of collapse of a run; None if the guard made none.

    Raises:
        RunFolderError: The file is not a mark.
    """
    path = run_folder / COLLAPSE_MARK
    try:
        return CollapseMark.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RunFolderError(f"{path}: not a mark of collapse: {error}") from error


def defects(settings: dict[str, Any]) -> list[str]:
    """The known defects that a run was trained with on purpose: the switches of `reference_defects` that are on."""
    return [name for name, is_on in settings.get("reference_defects", {}).items() if is_on]


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; see `read_lines_at`."""
    for _, line in read_lines_at(path):
        yield line


def read_lines_at(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file, each with the offset of its line in bytes.

    A missing file counts as empty. A last line without a newline is still being written, and is left out.

    Raises:
        RunFolderError: A line is not a JSON object; the message names it.
    """
    if not path.exists():
        return
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield offset, _parsed(line, path, f"line {number}")
            offset += len(line)


def read_line_at(path: Path, offset: int) -> dict[str, Any]:
    """The object of the line at `offset`, in bytes, as `read_lines_at` gives it.

    Raises:
        RunFolderError: The line is not a JSON object.
    """
    with path.open("rb") as file:
        file.seek(offset)
        return _parsed(file.readline(), path, f"byte {offset}")


def _parsed(line: bytes, path: Path, position: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise RunFolderError(f"{path}, {position}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RunFolderError(f"{path}, {position}: not a JSON object")
    return value


def refuse_other_run(settings: RunSettings) -> None:
    """Finds out whether the run of these settings can be in their folder; a folder without one update is free.

    Raises:
        SettingsError: The folder already contains a run, or none to resume, or one with other settings.
    """
    path = settings.run_folder
    if settings.resume:
        _compare(path, settings)
    elif _has_updates(path):
        raise SettingsError(
            f"run_folder: {path} already contains a run; choose another folder, remove it, or add --resume"
        )


def _has_updates(path: Path) -> bool:
    """Whether an update was logged or saved; an update logs its groups before it is complete.

    A folder without settings.json was not begun by a run: whatever it holds is not ours to remove.
    """
    if not (path / "settings.json").exists():
        return any((path / name).exists() for name in (*_LOGS, "checkpoints", "final"))
    metrics = path / "metrics.jsonl"
    logged = metrics.exists() and metrics.stat().st_size > 0
    return logged or any((path / "checkpoints").glob("checkpoint-*")) or (path / "final").exists()


def _clear(path: Path) -> None:
    """Removes what a run that ended before its first update has left."""
    if not (path / "settings.json").exists():
        return
    for name in (*_LOGS, COLLAPSE_MARK, _STREAM):
        (path / name).unlink(missing_ok=True)
    for name in ("checkpoints", "tensorboard", "adapters"):
        shutil.rmtree(path / name, ignore_errors=True)


def _compare(path: Path, settings: RunSettings) -> None:
    """Refuses to resume a run with settings that would change its result; more updates extend it.

    Raises:
        SettingsError: There is no run, or its settings differ; the message names the fields.
    """
    written = read_settings(path / "settings.json")
    try:
        before, now = type(settings)(**written).experiment, settings.experiment
    except ValidationError as error:
        reasons = describe(error, type(settings))
        raise SettingsError(f"resume: the run in {path} is of another version: {reasons}") from error
    differing = [
        f"{name} (was {before[name]!r}, is {now[name]!r})"
        for name in now
        if before[name] != now[name] and not (name == "updates" and now[name] > before[name])
    ]
    if differing:
        raise SettingsError(f"resume: the run in {path} has other settings: {'; '.join(differing)}")
