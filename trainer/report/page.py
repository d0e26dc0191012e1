"""Reads a run folder and writes its report."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from trainer.errors import RunFolderError
from trainer.report.drawing import COLOURS, stacked_bars
from trainer.report.group_index import GroupIndex
from trainer.report.metrics import Metrics
from trainer.report.outcome import read_outcome
from trainer.report.plots import plots
from trainer.report.samples import SampleSection, choose
from trainer.report.timing import duration, phases
from trainer.settings import ROLES

_TOP_QUESTIONS = 12
_PHASE_COLOURS = ("purple", "blue", "teal", "orange", "grey")


def write_report(run_folder: Path, output: Path | None = None) -> Path:
    """Writes the report of a run, finished or not, as one HTML file; returns its path.

    Args:
        run_folder: What a run left behind, or is still writing.
        output: The file to write; None: report.html in the run folder.

    Raises:
        RunFolderError: The folder holds no run, or a file of it cannot be read.
    """
    settings = _read_settings(run_folder / "settings.json")
    metrics = Metrics.read(run_folder / "metrics.jsonl")
    index = GroupIndex.read(
        run_folder / "groups.jsonl", [metrics.early, *([metrics.late] if metrics.late else [])]
    )
    timed = phases(metrics)
    environment = Environment(
        loader=PackageLoader("trainer.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, percent=_percent, points=_points, duration=duration)
    page = environment.get_template("page.html.j2").render(
        name=run_folder.resolve().name,
        settings=settings,
        flat_settings=list(_flat(settings)),
        roles=ROLES,
        colours=COLOURS,
        metrics=metrics,
        index=index,
        outcome=read_outcome(run_folder / "evaluation.json"),
        plots=plots(metrics, settings),
        phases=list(zip(timed, _phase_colours(len(timed)), strict=True)),
        total_s=sum(phase.total_s for phase in timed),
        time_svg=stacked_bars(
            "time",
            [
                (colour, phase.seconds)
                for phase, colour in zip(timed, _phase_colours(len(timed)), strict=True)
            ],
            unit="seconds an update",
        )
        if timed
        else None,
        top_questions=_TOP_QUESTIONS,
        samples=_samples(run_folder / "groups.jsonl", index),
    )
    output = output or run_folder / "report.html"
    partial = output.with_name(output.name + ".partial")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(page, encoding="utf-8")
    partial.replace(output)
    return output


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(f"{path.parent} holds no run: there is no {path.name}") from error
    except ValueError as error:
        raise RunFolderError(f"{path}: not JSON: {error}") from error
    return settings


def _samples(path: Path, index: GroupIndex) -> list[SampleSection]:
    titles = ("Early", "Late")
    return [
        choose(path, windowed, title, late=title == "Late")
        for windowed, title in zip(index.windows, titles, strict=False)
        if any(windowed.groups.values())
    ]


def _phase_colours(count: int) -> list[str]:
    return [_PHASE_COLOURS[i % len(_PHASE_COLOURS)] for i in range(count)]


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> str:
    """Three significant digits, two below 0.1; a dash for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 0.001 or abs(value) >= 10_000:
        return f"{value:.1e}".replace("-", "−")
    decimals = max(0, (2 if abs(value) >= 0.1 else 1) - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".replace("-", "−")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def _points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")
