"""Curves, bars and intervals as inline SVG.

Figures are drawn in placeholder colours that are then replaced by the page's CSS variables, so that one SVG suits both
the light and the dark scheme. Text stays text.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.report.metrics import Curve, Floats

COLOURS = ("blue", "orange", "teal", "purple", "grey", "red")
_PLACEHOLDERS = {
    name: f"#0{i}0{i}0{i}" for i, name in enumerate(("card", "muted", "line", *COLOURS), start=1)
}  # near-black, which no figure uses otherwise
_POINTS = 300
_WIDTH_IN = 5.6
_FONT_PT = 8.0
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_IDS = re.compile(r'\bid="|url\(#|href="#')


@dataclass(frozen=True, slots=True)
class Line:
    """A curve in one of `COLOURS`."""

    label: str
    curve: Curve
    colour: str


@dataclass(frozen=True, slots=True)
class Level:
    """A dashed horizontal line at `value`, with its name above it."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share in [0, 1] before and after; None if it was not measured."""

    label: str
    before: Interval | None
    after: Interval | None


def curves(
    name: str,
    lines: Sequence[Line],
    *,
    last_update: int,
    levels: Sequence[Level] = (),
    bounds: tuple[float | None, float | None] = (0.0, None),
    log: bool = False,
) -> Markup:
    """Curves over updates: a faint line for single updates, and a strong one for the running mean over 1/20 of the run.

    Args:
        name: Unique on the page; prefix of all ids in the SVG.
        lines: The curves.
        last_update: Right end of the horizontal axis.
        levels: Reference lines.
        bounds: Ends of the vertical axis; None: the end follows from the data.
        log: Whether the vertical axis is logarithmic.
    """
    figure, axes = _figure(2.15)
    for line in lines:
        updates, values = _thinned(line.curve)
        width = max(round(len(values) / 20), 1)
        smooth = _running_mean(values, width)
        colour = _PLACEHOLDERS[line.colour]
        if width > 1:
            axes.plot(updates, values, color=colour, alpha=0.25, linewidth=0.7)
        axes.plot(
            updates, smooth, color=colour, linewidth=1.7, marker="o" if len(values) < 4 else "", markersize=4
        )
    for level in levels:
        axes.axhline(level.value, color=_PLACEHOLDERS["muted"], linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            level.label,
            (1.0, level.value),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            color=_PLACEHOLDERS["muted"],
            fontsize=_FONT_PT - 1,
        )
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        low, high = bounds
        axes.set_ylim(low, _headroom(lines, levels) if high is None and low is not None else high)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    _span_updates(axes, last_update)
    return _svg(figure, name)


def stacked_bars(name: str, parts: Sequence[tuple[str, Floats]], *, unit: str) -> Markup:
    """At most 60 stacked bars over updates, each the mean of the updates that it spans.

    Args:
        name: Unique on the page.
        parts: Colour and values (updates,) of each part, from the bottom up.
        unit: Label of the vertical axis.
    """
    figure, axes = _figure(2.15)
    last_update = len(parts[0][1])
    edges = np.unique(np.linspace(0, last_update, min(last_update, 60) + 1).round().astype(np.int64))
    widths = np.diff(edges)
    floor = np.zeros(len(widths))
    for colour, values in parts:
        heights = np.add.reduceat(values, edges[:-1]) / widths
        axes.bar(
            edges[:-1] + 0.5,
            heights,
            width=widths * 0.86,
            bottom=floor,
            align="edge",
            color=_PLACEHOLDERS[colour],
        )
        floor += heights
    axes.set_ylabel(unit)
    _span_updates(axes, last_update)
    return _svg(figure, name)


def intervals(name: str, estimates: Sequence[Estimate]) -> Markup:
    """One row per estimate: before (hollow) and after (filled), each with its interval, from 0 to 100%."""
    figure, axes = _figure(0.5 + 0.34 * len(estimates))
    muted, strong = _PLACEHOLDERS["muted"], _PLACEHOLDERS["blue"]
    for row, estimate in enumerate(reversed(estimates)):
        for figures, colour, lift, face in (
            (estimate.before, muted, 0.12, _PLACEHOLDERS["card"]),
            (estimate.after, strong, -0.12, strong),
        ):
            if figures is not None:
                mean, low, high = (100.0 * share for share in (figures.mean, figures.low, figures.high))
                axes.plot(
                    [low, high],
                    [row + lift] * 2,
                    color=colour,
                    linewidth=2,
                    solid_capstyle="round",
                    alpha=0.6,
                )
                axes.plot(
                    [mean],
                    [row + lift],
                    "o",
                    color=colour,
                    markersize=5,
                    markerfacecolor=face,
                    markeredgewidth=1.4,
                )
    axes.set_yticks(range(len(estimates)), [estimate.label for estimate in reversed(estimates)])
    axes.set_xlim(-1, 101)
    axes.set_ylim(-0.6, len(estimates) - 0.4)
    axes.xaxis.set_major_formatter("{x:.0f}%")
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", color=_PLACEHOLDERS["line"], linewidth=0.7)
    return _svg(figure, name)


def _figure(height_in: float) -> tuple[Any, Any]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_PLACEHOLDERS["muted"])
    axes.tick_params(colors=_PLACEHOLDERS["muted"], labelsize=_FONT_PT, length=0, pad=4)
    axes.grid(visible=True, axis="y", color=_PLACEHOLDERS["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    axes.yaxis.get_offset_text().set(color=_PLACEHOLDERS["muted"], fontsize=_FONT_PT - 1)
    axes.yaxis.label.set(color=_PLACEHOLDERS["muted"], fontsize=_FONT_PT)
    axes.xaxis.label.set(color=_PLACEHOLDERS["muted"], fontsize=_FONT_PT)
    return figure, axes


def _headroom(lines: Sequence[Line], levels: Sequence[Level]) -> float:
    """An upper end of the axis with room above the highest value."""
    highest = max(
        [*(line.curve.values.max() for line in lines), *(level.value for level in levels)], default=0.0
    )
    return 1.1 * float(highest) if highest > 0 else 1.0


def _span_updates(axes: Any, last_update: int) -> None:
    axes.set_xlim(0.5, last_update + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("update")


def _thinned(curve: Curve) -> tuple[Floats, Floats]:
    """The curve itself, or at most 300 means over equal runs of its points."""
    count = len(curve.values)
    if count <= _POINTS:
        return curve.updates, curve.values
    starts = np.linspace(0, count, _POINTS + 1).astype(np.int64)
    lengths = np.diff(starts)
    return (
        np.add.reduceat(curve.updates, starts[:-1]) / lengths,
        np.add.reduceat(curve.values, starts[:-1]) / lengths,
    )


def _running_mean(values: Floats, width: int) -> Floats:
    """Centred means over `width` points, and over fewer at both ends."""
    kernel = np.ones(width)
    counts = np.convolve(np.ones(len(values)), kernel, mode="same")
    smooth: Floats = np.convolve(values, kernel, mode="same") / counts
    return smooth


def _svg(figure: Any, name: str) -> Markup:
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = _METADATA.sub("", svg[svg.index("<svg") :])
    svg = _IDS.sub(lambda found: f"{found[0]}{name}-", svg)
    for variable, placeholder in _PLACEHOLDERS.items():
        svg = svg.replace(placeholder, f"var(--{variable})")
    return Markup(svg)
