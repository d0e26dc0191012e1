"""The image files that the rows of a table name."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ireasoner.trainer.data.row_files import stamp_of
from ireasoner.trainer.shown_path import shown


@dataclass(slots=True)
class ListedFiles:
    """Finds the files that paths name, before any is opened.

    A file that is named twice, however its path is written, counts once.

    Attributes:
        folder: The folder that paths are relative to.
        values: The column of paths, row by row.
        files: Size in bytes and time of the last change in nanoseconds, by path as it is first written, in their order.
        left_out: Why each other row names no file; each starts with the number of its row, from 0.
    """

    folder: Path
    values: Iterable[object]
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        listed = set()
        for row, value in enumerate(self.values):
            if not isinstance(value, str) or not value.strip():
                self.left_out[f"row {row}"] = "it names no file"
                continue
            try:
                stamp, file = stamp_of(self.folder / value), os.path.realpath(self.folder / value)
                if file not in listed:
                    self.files[value] = stamp
                listed.add(file)
            except (OSError, ValueError) as error:  # ValueError: a null byte
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self.left_out[f"row {row} ({shown(value)})"] = reason or type(error).__name__
