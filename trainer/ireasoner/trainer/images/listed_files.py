"""The image files that the rows of a table name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ireasoner.trainer.shown_path import shown


@dataclass(slots=True)
class ListedFiles:
    """Finds the files that paths name, before any is opened; a file that is named twice counts once.

    Attributes:
        folder: The folder that paths are relative to.
        values: The column of paths, row by row.
        files: Size in bytes and time of the last change in nanoseconds, by path as it is written, in the order of rows.
        left_out: Why each other row names no file; each starts with the number of its row, from 0.
    """

    folder: Path
    values: Iterable[object]
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for row, value in enumerate(self.values):
            if not isinstance(value, str) or not value.strip():
                self.left_out[f"row {row}"] = "it names no file"
                continue
            try:
                status = (self.folder / value).stat()
                self.files[value] = (status.st_size, status.st_mtime_ns)
            except (OSError, ValueError) as error:  # ValueError: a null byte
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self.left_out[f"row {row} ({shown(value)})"] = reason or type(error).__name__
