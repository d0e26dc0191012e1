"""The results as plots: SVG files that are equal on every build."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from replication.forest import Section
from replication.results import BOTH, against_reference, reference
from replication.table import seeds_of

_WINDOW = 8
_PANELS_PER_LINE = 5


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes every plot of a results.json into `folder`; returns the files."""
    arms = document["arms"]
    files = [save(_accuracy(document), folder / "accuracy.svg")]
    trained = [arm for arm in arms if arm["curves"]]
    if trained:
        files.append(save(_over_updates(trained), folder / "updates.svg"))
        files.append(save(_signal(trained), folder / "signal.svg"))
    return files


def draw_forest(sections: Sequence[Section], file: Path) -> None:
    """Writes the forest plot: greedy accuracy of each arm minus that of its reference, task by task.

    A dot with a line is a mean with its 95% interval, a hollow dot a mean of too few seeds for one, and small dots are
    single seeds.
    """
    lines = sum(len(section.rows) + 1 for section in sections)
    figure = Figure(figsize=(8, 0.9 + 0.24 * lines), layout="constrained")
    axes = figure.subplots()
    labels, height = [], 0
    for section in sections:
        labels.append((height, section.title))
        for row in section.rows:
            height += 1
            labels.append((height, f"{row.label} ({row.seeds})"))
            axes.plot(row.by_seed, [height] * len(row.by_seed), ".", color="0.7", markersize=4)
            _dot(axes, row.found, height, "C0" if row.kind == "method" else "0.35")
            axes.annotate(f"{row.found['mean']:+.3f}", (1.01, height), xycoords=("axes fraction", "data"),
                          va="center", fontsize="x-small")  # fmt: skip
        height += 1
    axes.axvline(0.0, color="0.6", linewidth=0.8)
    axes.set_yticks([at for at, _ in labels], [label for _, label in labels], fontsize="x-small")
    for (_, label), tick in zip(labels, axes.get_yticklabels(), strict=True):
        if label in {section.title for section in sections}:
            tick.set_fontweight("bold")
    axes.set_ylim(height - 0.4, -0.7)
    axes.set_xlabel("greedy accuracy (or avg@N) minus that of outcome-only, paired; in brackets: seeds")
    save(figure, file)


def _accuracy(document: Mapping[str, Any]) -> Figure:
    """Accuracies, one line per arm: on the test questions, and paired differences to outcome-only."""
    arms, differences = document["arms"], against_reference(document)
    figure = Figure(figsize=(9, 1.2 + 0.35 * len(arms)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    against = [differences.get(arm["arm"], ("", None))[1] for arm in arms]
    for offset, name, label, color in (
        (-0.2, "greedy", "greedy", "C0"),
        (0.0, "sampled", "avg@N", "C2"),
        (0.2, "majority", "maj@N", "C1"),
    ):
        _dots(left, [arm["test"][name] for arm in arms], offset, color)
        _dots(right, [found and found[BOTH][name] for found in against], offset, color)
        left.plot([], [], "o-", color=color, markersize=4, linewidth=1.4, label=label)
    right.axvline(0.0, color="0.6", linewidth=0.8)
    left.set_xlabel("accuracy on the test questions")
    right.set_xlabel("difference to outcome-only, paired,\ntest questions and held-out combinations")
    _name_arms(left, arms)
    figure.legend(loc="outside upper right", ncols=3, frameon=False)
    return figure


def _signal(arms: Sequence[Mapping[str, Any]]) -> Figure:
    """In training: how well cosines separate true from wrong additions, and rewards right from wrong rollouts."""
    figure = Figure(figsize=(9, 1.2 + 0.35 * len(arms)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _dots(left, [arm["signal"]["step_separation"] for arm in arms])
    left.axvline(0.5, color="0.6", linewidth=0.8)
    left.set_xlabel("probability that a true addition\nagrees more than a wrong one")
    _dots(right, [arm["signal"]["reward_rank_correlation"] for arm in arms])
    right.axvline(0.0, color="0.6", linewidth=0.8)
    right.set_xlabel("rank correlation of reward and correctness\nwithin a group")
    _name_arms(left, arms)
    return figure


def _over_updates(arms: Sequence[Mapping[str, Any]]) -> Figure:
    """One panel per arm: greedy accuracy on the same questions as outcome-only, and entropy in training.

    A cross marks the onset of a collapse.
    """
    lines = -(-len(arms) // _PANELS_PER_LINE)
    figure = Figure(figsize=(2.4 * _PANELS_PER_LINE, 0.8 + 1.7 * lines), layout="constrained")
    panels = figure.subplots(lines, _PANELS_PER_LINE, sharex=True, sharey=True, squeeze=False)
    by_name = {arm["arm"]: arm for arm in arms}
    for axes, arm in zip(panels.flat, arms, strict=False):
        other = by_name.get(reference(arm["arm"], [*by_name]))
        if other is not None:
            _accuracy_line(axes, other, color="0.7", label="greedy accuracy of outcome-only")
        _accuracy_line(axes, arm, color="C0", label="greedy accuracy", band=True)
        updates, entropies = _smooth(arm["curves"]["update"], arm["curves"]["answer_entropy_nats"])
        axes.plot(updates, entropies, color="C1", linewidth=1.0, label="answer entropy in training, nats")
        for onset in arm["collapse_updates"]:
            if onset is not None and len(updates):
                axes.plot([onset], [np.interp(onset, updates, entropies)], "x", color="C3")
        axes.set_title(f"{arm['arm']} ({len(arm['seeds'])})", fontsize=7.5)
        axes.tick_params(labelsize="small")
    for index, axes in enumerate(panels.flat[len(arms) :], start=len(arms)):
        axes.remove()
        panels.flat[index - _PANELS_PER_LINE].tick_params(labelbottom=True)
    figure.supxlabel("update", fontsize="medium")
    figure.supylabel("accuracy (with 95% interval), or nats", fontsize="medium")
    handles, labels = panels.flat[len(arms) - 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    return figure


def _accuracy_line(axes: Axes, arm: Mapping[str, Any], *, color: str, label: str, band: bool = False) -> None:
    updates, greedy = arm["learning"]["update"], arm["learning"]["greedy"]
    axes.plot(updates, [found["mean"] for found in greedy], color=color, linewidth=1.2, label=label)
    if band and all(found["low"] is not None for found in greedy):
        low, high = ([found[end] for found in greedy] for end in ("low", "high"))
        axes.fill_between(updates, low, high, color=color, alpha=0.15, linewidth=0)


def _dots(
    axes: Axes, figures: Sequence[Mapping[str, Any] | None], offset: float = 0.0, color: str = "C0"
) -> None:
    """A dot for each mean, and a line for its interval; hollow if it has none."""
    for index, found in enumerate(figures):
        if found is not None:
            _dot(axes, found, index + offset, color)


def _dot(axes: Axes, found: Mapping[str, Any], height: float, color: str) -> None:
    has_interval = found["low"] is not None
    if has_interval:
        axes.plot([found["low"], found["high"]], [height] * 2, color=color, linewidth=1.4)
    axes.plot(
        found["mean"],
        height,
        "o",
        color=color,
        markerfacecolor=color if has_interval else "white",
        markersize=4,
    )


def _name_arms(axes: Axes, arms: Sequence[Mapping[str, Any]]) -> None:
    """Labels the arms with their number of seeds, and draws a line above the first control."""
    axes.set_yticks(range(len(arms)), [f"{arm['arm']} ({seeds_of(arm)})" for arm in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    first_control = next((index for index, arm in enumerate(arms) if arm["kind"] == "control"), None)
    if first_control:
        for panel in axes.figure.axes:
            panel.axhline(first_control - 0.5, color="0.8", linewidth=0.8)


def _smooth(updates: Sequence[float], values: Sequence[float | None]) -> tuple[Any, Any]:
    """Running means over the updates that have a value."""
    known = [(update, value) for update, value in zip(updates, values, strict=True) if value is not None]
    at, heights = np.array(known, dtype=np.float64).reshape(-1, 2).T
    window = min(_WINDOW, len(at))
    if not window:
        return at, heights
    return at[window - 1 :], np.convolve(heights, np.full(window, 1 / window), mode="valid")


def save(figure: Figure, file: Path) -> Path:
    """Writes a figure, equal on every build; returns its file."""
    mpl.rcParams["svg.hashsalt"] = "replication"
    figure.savefig(file, metadata={"Date": None})
    return file
