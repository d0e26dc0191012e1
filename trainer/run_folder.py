"""The run folder: everything that a run leaves behind.

settings.json      the resolved settings
metrics.jsonl      one line an update
groups.jsonl       one line a group: image, question, rollouts, rewards
adapters/          the published versions that are still served
checkpoints/       what the run can be taken up from
tensorboard/       the same metrics, for TensorBoard
final/             the two adapters as peft folders
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import SettingsError


class RunFolder:
    """Writes to one run folder.

    Raises:
        SettingsError: The folder holds a run already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / "settings.json").exists():
            raise SettingsError(f"run_folder: {path} holds a run already; name another or remove it")
        path.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def final(self) -> Path:
        """Folder of the trained adapters."""
        return self.path / "final"

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Writes the resolved settings."""
        (self.path / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def append_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Adds the metrics of one update."""
        self._append("metrics.jsonl", metrics)

    def append_group(self, group: Mapping[str, Any]) -> None:
        """Adds one group with its rollouts and rewards."""
        self._append("groups.jsonl", group)

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file; a missing file has none."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
