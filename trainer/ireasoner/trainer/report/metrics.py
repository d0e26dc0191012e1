"""metrics.jsonl as columns."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ireasoner.trainer.run_folder.run_folder import read_lines

_SHORT_RUN_UPDATES = 48

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """The updates from `first` to `last`, both included, counted from 1."""

    first: int
    last: int

    def __contains__(self, update: int) -> bool:
        return self.first <= update <= self.last

    def __str__(self) -> str:
        return f"update {self.first}" if self.first == self.last else f"updates {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over the updates that logged it: `updates` (n,) from 1, increasing; `values` (n,)."""

    updates: Floats
    values: Floats

    def mean(self, window: Window) -> float | None:
        """The mean over a window; None if no update in it logged the metric."""
        inside = self.values[(self.updates >= window.first) & (self.updates <= window.last)]
        return float(inside.mean()) if inside.size else None


@dataclass(slots=True)
class Metrics:
    """The metrics of a run.

    Attributes:
        last_update: The last logged update; 0 if there is none.
        updates_by_role: Number of updates that trained each role.
    """

    last_update: int = 0
    updates_by_role: Counter[str] = field(default_factory=Counter)
    _columns: dict[str, tuple["array[float]", "array[float]"]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Metrics":
        """Reads a metrics.jsonl; a missing file counts as empty.

        Raises:
            RunFolderError: A line is not a JSON object.
        """
        metrics = cls()
        for line in read_lines(path):
            update = int(line["update"])
            metrics.last_update = max(metrics.last_update, update)
            metrics.updates_by_role[str(line["role"])] += 1
            for name, value in line.items():
                if "/" in name and isinstance(value, int | float):
                    updates, values = metrics._columns.setdefault(name, (array("d"), array("d")))
                    updates.append(update)
                    values.append(value)
        return metrics

    @property
    def names(self) -> list[str]:
        """The names of all metrics, sorted."""
        return sorted(self._columns)

    def curve(self, name: str) -> Curve | None:
        """One metric; if an update was logged twice because the run was resumed, the later value counts."""
        if name not in self._columns:
            return None
        updates, values = (np.array(column) for column in self._columns[name])
        distinct, last_first = np.unique(updates[::-1], return_index=True)
        return Curve(distinct, values[::-1][last_first])

    @property
    def early(self) -> Window:
        """The first `part` of the updates (at least one)."""
        return Window(1, self._part_updates)

    @property
    def late(self) -> Window | None:
        """The last `part` of the updates; None before the second update."""
        if self.last_update < 2:
            return None
        return Window(self.last_update - self._part_updates + 1, self.last_update)

    @property
    def part(self) -> str:
        """The share of the run in a window: a quarter, or half of a short run."""
        return "half" if self.last_update < _SHORT_RUN_UPDATES else "quarter"

    @property
    def _part_updates(self) -> int:
        return max(self.last_update // (2 if self.part == "half" else 4), 1)
