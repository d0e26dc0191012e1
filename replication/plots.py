"""The results as plots, SVG files that are the same on every build."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.results import BOTH

_WINDOW = 8
_PANELS_A_LINE = 5


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes every plot of a results.json into `folder`; returns the files."""
    mpl.rcParams["svg.hashsalt"] = "replication"
    rows = document["rows"]
    files = [_save(_accuracy(rows), folder / "accuracy.svg")]
    trained = [row for row in rows if row["curves"]]
    if trained:
        files.append(_save(_over_updates(trained), folder / "updates.svg"))
        files.append(_save(_signal(trained), folder / "signal.svg"))
    return files


def _accuracy(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Greedy accuracy and maj@N, one line a row: on the test, and less outcome-only's, paired, on both examinations."""
    figure = Figure(figsize=(9, 1.2 + 0.35 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    against = [row["against"].get("outcome-only") for row in rows]
    for offset, name, label, color in ((-0.12, "greedy", "greedy", "C0"), (0.12, "majority", "maj@N", "C1")):
        _dots(left, [row["test"][name] for row in rows], offset, color)
        _dots(right, [found and found[BOTH][name] for found in against], offset, color)
        left.plot([], [], "o-", color=color, markersize=4, linewidth=1.4, label=label)
    right.axvline(0.0, color="0.6", linewidth=0.8)
    left.set_xlabel("accuracy on the test")
    right.set_xlabel("less outcome-only, paired,\non both examinations")
    _name_rows(left, rows)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def _signal(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """In training: how well cosines tell true additions from wrong ones, and rewards right rollouts from wrong ones."""
    figure = Figure(figsize=(9, 1.2 + 0.35 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _dots(left, [row["signal"]["step_separation"] for row in rows])
    left.axvline(0.5, color="0.6", linewidth=0.8)
    left.set_xlabel("how likely a true addition agrees more\nthan a wrong one")
    _dots(right, [row["signal"]["reward_rank_correlation"] for row in rows])
    right.axvline(0.0, color="0.6", linewidth=0.8)
    right.set_xlabel("rank correlation of reward and correctness\ninside a group")
    _name_rows(left, rows)
    return figure


def _over_updates(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """A panel a row: greedy accuracy on the same questions beside outcome-only's, and entropy in training.

    A cross marks where a run collapsed.
    """
    lines = -(-len(rows) // _PANELS_A_LINE)
    figure = Figure(figsize=(2.4 * _PANELS_A_LINE, 0.8 + 1.7 * lines), layout="constrained")
    panels = figure.subplots(lines, _PANELS_A_LINE, sharex=True, sharey=True, squeeze=False)
    reference = next((row for row in rows if row["row"] == "outcome-only"), None)
    for axes, row in zip(panels.flat, rows, strict=False):
        if reference is not None:
            _accuracy_line(axes, reference, color="0.7", label="greedy accuracy of outcome-only")
        _accuracy_line(axes, row, color="C0", label="greedy accuracy, on the same questions", band=True)
        updates, entropies = _smooth(row["curves"]["update"], row["curves"]["answer_entropy_nats"])
        axes.plot(updates, entropies, color="C1", linewidth=1.0, label="answer entropy in training, nats")
        for onset in row["collapse_updates"]:
            if onset is not None and len(updates):
                axes.plot([onset], [np.interp(onset, updates, entropies)], "x", color="C3")
        axes.set_title(f"{row['row']} ({len(row['seeds'])})", fontsize=7.5)
        axes.tick_params(labelsize="small")
    for place, axes in enumerate(panels.flat[len(rows) :], start=len(rows)):
        axes.remove()
        panels.flat[place - _PANELS_A_LINE].tick_params(labelbottom=True)
    figure.supxlabel("update", fontsize="medium")
    figure.supylabel("accuracy (with its 95% interval), or nats", fontsize="medium")
    handles, labels = panels.flat[len(rows) - 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    return figure


def _accuracy_line(axes: Axes, row: Mapping[str, Any], *, color: str, label: str, band: bool = False) -> None:
    updates, greedy = row["learning"]["update"], row["learning"]["greedy"]
    axes.plot(updates, [found["mean"] for found in greedy], color=color, linewidth=1.2, label=label)
    if band:
        low, high = ([found[end] for found in greedy] for end in ("low", "high"))
        axes.fill_between(updates, low, high, color=color, alpha=0.15, linewidth=0)


def _dots(
    axes: Axes, figures: Sequence[Mapping[str, Any] | None], offset: float = 0.0, color: str = "C0"
) -> None:
    """A dot for each mean, and a line for its interval, where it has one."""
    for place, found in enumerate(figures):
        if found is not None:
            ends = [] if found["low"] is None else [found["low"], found["high"]]
            axes.plot(ends, [place + offset] * len(ends), color=color, linewidth=1.4)
            axes.plot(found["mean"], place + offset, "o", color=color, markersize=4)


def _name_rows(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Names them with their number of seeds, and draws a line where controls begin."""
    axes.set_yticks(range(len(rows)), [f"{row['row']} ({len(row['seeds'])})" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    first_control = next((place for place, row in enumerate(rows) if row["kind"] == "control"), None)
    if first_control:
        for panel in axes.figure.axes:
            panel.axhline(first_control - 0.5, color="0.8", linewidth=0.8)


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
