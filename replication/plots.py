"""The results as plots, SVG files that are the same on every build."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_WINDOW = 8
_COLOURS = [mpl.colormaps["tab20"](number) for number in (*range(0, 20, 2), *range(1, 20, 2))]


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes every plot of a results.json into `folder`; returns the files."""
    mpl.rcParams["svg.hashsalt"] = "replication"
    rows = document["rows"]
    files = [_save(_accuracy(rows), folder / "accuracy.svg")]
    trained = [row for row in rows if row["curves"]]
    if trained:
        files.append(_save(_over_updates(trained), folder / "updates.svg"))
        files.append(_save(_separation(trained), folder / "separation.svg"))
    return files


def _accuracy(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Greedy accuracy and maj@N on the test, one line a row."""
    figure = Figure(figsize=(7, 1.2 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for offset, name, label in ((-0.12, "greedy", "greedy"), (0.12, "majority", "maj@N")):
        _dots(axes, [row["test"][name] for row in rows], offset, label)
    _name_rows(axes, rows)
    axes.set_xlabel("accuracy on the test")
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def _separation(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """How well cosines tell true additions from wrong ones, and rewards right rollouts from wrong ones."""
    figure = Figure(figsize=(9, 1.2 + 0.35 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _dots(left, [row["signal"]["step_separation"] for row in rows], 0.0, None)
    left.axvline(0.5, color="0.6", linewidth=0.8)
    left.set_xlabel("a true addition agrees more than a wrong one")
    _dots(right, [row["signal"]["reward_rank_correlation"] for row in rows], 0.0, None)
    right.axvline(0.0, color="0.6", linewidth=0.8)
    right.set_xlabel("rank correlation of reward and correctness")
    _name_rows(left, rows)
    return figure


def _over_updates(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy on the same questions and entropy in training; controls are dashed, a cross marks a run's collapse."""
    figure = Figure(figsize=(10, 1.5 + max(2.5, 0.2 * len(rows))), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, row in enumerate(rows):
        style = "-" if row["kind"] == "method" else "--"
        colour = _COLOURS[number % len(_COLOURS)]
        greedy = [found["mean"] for found in row["learning"]["greedy"]]
        left.plot(row["learning"]["update"], greedy, style, color=colour, label=row["row"], linewidth=1.2)
        updates, entropies = _smooth(row["curves"]["update"], row["curves"]["answer_entropy_nats"])
        right.plot(updates, entropies, style, color=colour, linewidth=1.2)
        for onset in row["collapse_updates"]:
            if onset is not None and len(updates):
                right.plot([onset], [np.interp(onset, updates, entropies)], "x", color=colour)
    left.set_ylabel("greedy accuracy on the same questions")
    right.set_ylabel("answer entropy in training, nats")
    for axes in (left, right):
        axes.set_xlabel("update")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _dots(
    axes: Axes, figures: Sequence[Mapping[str, float] | None], offset: float, label: str | None
) -> None:
    places = [place for place, found in enumerate(figures) if found is not None]
    known = [found for found in figures if found is not None]
    means = np.array([found["mean"] for found in known])
    errors = np.array([[found["mean"] - found["low"], found["high"] - found["mean"]] for found in known])
    axes.errorbar(
        means, np.array(places) + offset, xerr=np.clip(errors, 0, None).T, fmt="o", markersize=4, label=label
    )


def _name_rows(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axes.set_yticks(range(len(rows)), [row["row"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _smooth(updates: Sequence[float], values: Sequence[float | None]) -> tuple[Any, Any]:
    """Running means over the last updates that are known."""
    known = [(update, value) for update, value in zip(updates, values, strict=True) if value is not None]
    at, heights = np.array(known, dtype=np.float64).reshape(-1, 2).T
    window = min(_WINDOW, len(at))
    if not window:
        return at, heights
    return at[window - 1 :], np.convolve(heights, np.full(window, 1 / window), mode="valid")


def _save(figure: Figure, file: Path) -> Path:
    figure.savefig(file, metadata={"Date": None})
    return file
