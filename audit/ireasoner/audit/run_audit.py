"""The audit of one run: its figures at the start and now, and the signs that hold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ireasoner.audit.signs import AVERAGED, FIGURES, Sign, signs
from ireasoner.audit.thresholds import Thresholds
from ireasoner.audit.watch import Watch

Verdict = Literal["fine", "collapse likely", "too early"]

MIN_WINDOW = 3
"""Least number of updates that are averaged."""


@dataclass(frozen=True, slots=True)
class Update:
    """An update of a run, or a minute where no update is known: its number and its figures, by name."""

    at: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a run: its mean over the first window and over the last one; None where it is not known."""

    name: str
    first: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class FoundSign:
    """A sign that holds now.

    Attributes:
        name: Its name.
        figure: The figure that shows it.
        since: The update since which it holds without a break.
        reason: The figures behind it.
        decides: Whether it alone makes a collapse likely.
        source: Where its threshold comes from.
    """

    name: str
    figure: str
    since: int
    reason: str
    decides: bool
    source: str


@dataclass(frozen=True, slots=True)
class RunAudit:
    """The result.

    Attributes:
        verdict: `too early` if there are fewer than two windows of updates.
        updates: Number of updates.
        window: Number of updates that were averaged.
        signs: Those that hold now, those that decide first.
        figures: Every figure that is known.
    """

    verdict: Verdict
    updates: int
    window: int
    signs: tuple[FoundSign, ...]
    figures: tuple[Figure, ...]

    def as_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {**asdict(self), "signs": [*map(asdict, self.signs)], "figures": [*map(asdict, self.figures)]}


def window_of(updates: int, limits: Thresholds) -> int:
    """The window for a run of this many updates: that of the thresholds, or a third of a short run."""
    return max(MIN_WINDOW, min(limits.window, updates // 3))


def audit(updates: Sequence[Update], limits: Thresholds) -> RunAudit:
    """Audits a run from its updates, in order.

    Figures that are taken over a window (`signs.AVERAGED`) belong to its last update; those of the first window and of
    the last are enough.
    """
    limits = replace(limits, window=window_of(len(updates), limits))
    known = signs(limits)
    watch = Watch(known, limits.window, AVERAGED)
    since: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for update in updates:
        reasons = watch.observe(update.figures)
        since = {name: since.get(name, update.at) for name in reasons}
    is_early = len(updates) < 2 * limits.window
    found = () if is_early else tuple(_found(known, reasons, since))
    return RunAudit(
        verdict=_verdict(found, is_early),
        updates=len(updates),
        window=limits.window,
        signs=found,
        figures=tuple(_figures(updates, limits.window)),
    )


def _verdict(found: Sequence[FoundSign], is_early: bool) -> Verdict:
    if is_early:
        return "too early"
    return "collapse likely" if any(sign.decides for sign in found) else "fine"


def _found(known: Sequence[Sign], reasons: Mapping[str, str], since: Mapping[str, int]) -> list[FoundSign]:
    return [
        FoundSign(sign.name, sign.figure, since[sign.name], reasons[sign.name], sign.decides, sign.source)
        for sign in known
        if sign.name in reasons
    ]


def _figures(updates: Sequence[Update], window: int) -> list[Figure]:
    shown = []
    for name in FIGURES:
        values = [update.figures[name] for update in updates if name in update.figures]
        if values:
            count = 1 if name in AVERAGED else window
            shown.append(Figure(name, _mean(values[:count]), _mean(values[-count:])))
    return shown


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
