"""A sliding window over the figures of a run's updates, compared with its first window."""

from collections import deque
from collections.abc import Iterable, Mapping

from ireasoner.audit.signs import Sign


class Watch:
    """Finds the signs that hold in the last window of updates.

    Args:
        signs: The signs to look for.
        window: Number of updates that are averaged. Until a figure has been seen that often, it shows nothing.
        averaged: Figures that are averages over a window already: each value is compared as it is.
    """

    def __init__(self, signs: Iterable[Sign], window: int, averaged: Iterable[str] = ()) -> None:
        self._signs = tuple(signs)
        whole = set(averaged)
        self._recent: dict[str, deque[float]] = {
            sign.figure: deque(maxlen=1 if sign.figure in whole else window) for sign in self._signs
        }
        self._first: dict[str, float] = {}

    def observe(self, figures: Mapping[str, float]) -> dict[str, str]:
        """Adds the figures of one update; returns the signs that now hold, by name, each with its reason.

        A figure that an update lacks keeps its window.
        """
        for name in figures.keys() & self._recent.keys():
            self._recent[name].append(figures[name])
            if (mean := self.mean(name)) is not None:
                self._first.setdefault(name, mean)
        means = {name: self.mean(name) for name in self._recent}
        found = {}
        for sign in self._signs:
            mean, first = means[sign.figure], self.first(sign.figure)
            if mean is None or first is None:
                continue
            if (reason := sign.rule.reason(mean, first)) is not None:
                found[sign.name] = reason
        return found

    def mean(self, figure: str) -> float | None:
        """The mean of a figure over the last window; None until the window is full."""
        recent = self._recent[figure]
        return sum(recent) / len(recent) if len(recent) == recent.maxlen else None

    def first(self, figure: str) -> float | None:
        """The mean of a figure over the first window; None until the window is full."""
        return self._first.get(figure)
