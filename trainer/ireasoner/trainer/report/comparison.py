"""Reads two run folders and writes a page that compares them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ireasoner.trainer.report.group_index import GroupIndex
from ireasoner.trainer.report.metrics import Metrics
from ireasoner.trainer.report.outcome import read_difference
from ireasoner.trainer.report.plots import comparisons
from ireasoner.trainer.report.samples import SampleSection, choose
from ireasoner.trainer.report.template import flat, render, write_page
from ireasoner.trainer.report.timing import Phase, phases
from ireasoner.trainer.run_folder.run_folder import defects, read_settings

_EXPECTED_TO_DIFFER = frozenset({"run_folder"})


@dataclass(frozen=True, slots=True)
class RunSide:
    """One of the two runs.

    Attributes:
        letter: A or B.
        colour: Colour of its curves.
        late: Groups of the last part of its updates; None if it has logged none.
    """

    letter: str
    colour: str
    name: str
    settings: dict[str, Any]
    metrics: Metrics
    index: GroupIndex
    phases: list[Phase]
    late: SampleSection | None

    @property
    def total_s(self) -> float:
        """Total time of all updates."""
        return sum(phase.total_s for phase in self.phases)

    @property
    def control(self) -> str:
        """The run's control, or "none"."""
        return str(self.settings.get("reward", {}).get("control", "none"))

    @property
    def function(self) -> str | None:
        """The function whose rewards replaced the Solver's scores, if one did."""
        name: str | None = self.settings.get("reward", {}).get("function")
        return name

    @property
    def defects(self) -> list[str]:
        """Known defects that the run was trained with on purpose."""
        return defects(self.settings)


def write_comparison(first: Path, second: Path, output: Path | None = None) -> Path:
    """Writes one HTML file about two runs; returns its path.

    Args:
        first: Run folder A, the reference.
        second: Run folder B; differences are B minus A.
        output: File to write; None: comparison.html in the second folder.

    Raises:
        RunFolderError: A folder contains no run, or a file in it cannot be read.
    """
    sides = [_side("A", "grey", first), _side("B", "blue", second)]
    flat_settings = [dict(flat(side.settings)) for side in sides]
    names = sorted(set(flat_settings[0]) | set(flat_settings[1]))
    page = render(
        "comparison.html.j2",
        sides=sides,
        outcome=read_difference(first / "evaluation.json", second / "evaluation.json"),
        plots=comparisons(sides[0].metrics, sides[1].metrics, sides[1].settings),
        differing=[
            (name, *values)
            for name in names
            if name not in _EXPECTED_TO_DIFFER
            and len(set(values := [settings.get(name, "not set") for settings in flat_settings])) > 1
        ],
        fingerprints=[sorted(side.index.fingerprints) for side in sides],
    )
    return write_page(page, output or second / "comparison.html")


def _side(letter: str, colour: str, folder: Path) -> RunSide:
    settings = read_settings(folder / "settings.json")
    metrics = Metrics.read(folder / "metrics.jsonl")
    index = GroupIndex.read(folder / "groups.jsonl", [metrics.late or metrics.early])
    [windowed] = index.windows
    return RunSide(
        letter=letter,
        colour=colour,
        name=folder.resolve().name,
        settings=settings,
        metrics=metrics,
        index=index,
        phases=phases(metrics, overlap=settings.get("overlap", False)),
        late=choose(folder / "groups.jsonl", windowed, "Late", late=True)
        if any(windowed.groups.values())
        else None,
    )
