"""Reads a run folder and writes its report."""

from pathlib import Path

from ireasoner.trainer.report.drawing import COLOURS, stacked_bars
from ireasoner.trainer.report.group_index import GroupIndex
from ireasoner.trainer.report.metrics import Metrics
from ireasoner.trainer.report.outcome import read_outcome
from ireasoner.trainer.report.plots import plots
from ireasoner.trainer.report.samples import SampleSection, choose
from ireasoner.trainer.report.template import flat, render, write_page
from ireasoner.trainer.report.timing import phases
from ireasoner.trainer.run_folder.run_folder import defects, read_collapse_mark, read_settings
from ireasoner.trainer.settings import ROLES

_TOP_QUESTIONS = 12


def write_report(run_folder: Path, output: Path | None = None) -> Path:
    """Writes the report of a run, finished or not, as one HTML file; returns its path.

    Args:
        run_folder: Run folder of a finished run, or of one in progress.
        output: File to write; None: report.html in the run folder.

    Raises:
        RunFolderError: The folder contains no run, or a file in it cannot be read.
    """
    settings = read_settings(run_folder / "settings.json")
    metrics = Metrics.read(run_folder / "metrics.jsonl")
    index = GroupIndex.read(
        run_folder / "groups.jsonl", [metrics.early, *([metrics.late] if metrics.late else [])]
    )
    timed = phases(metrics, overlap=settings.get("overlap", False))
    page = render(
        "page.html.j2",
        name=run_folder.resolve().name,
        settings=settings,
        flat_settings=list(flat(settings)),
        defects=defects(settings),
        collapse=read_collapse_mark(run_folder),
        roles=ROLES,
        colours=COLOURS,
        metrics=metrics,
        index=index,
        outcome=read_outcome(run_folder / "evaluation.json"),
        plots=plots(metrics, settings),
        phases=timed,
        total_s=sum(phase.total_s for phase in timed),
        time_svg=stacked_bars(
            "time", [(phase.colour, phase.seconds) for phase in timed], unit="seconds per update"
        )
        if timed
        else None,
        top_questions=_TOP_QUESTIONS,
        samples=_samples(run_folder / "groups.jsonl", index),
    )
    return write_page(page, output or run_folder / "report.html")


def _samples(path: Path, index: GroupIndex) -> list[SampleSection]:
    titles = ("Early", "Late")
    return [
        choose(path, windowed, title, late=title == "Late")
        for windowed, title in zip(index.windows, titles, strict=False)
        if any(windowed.groups.values())
    ]
