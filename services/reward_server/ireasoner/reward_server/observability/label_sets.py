"""A bound on what labels add to `/metrics`: callers choose the names of configs, and operators those of experiments."""

from collections.abc import Hashable

OTHER = "other"
"""The label of what has no share any more."""
LINE_BYTES = 110
"""A line of `/metrics` without the values of its labels, at most."""


class LabelSets:
    """Values of labels, each with a share of the bytes that they may add to `/metrics`; the rest become `OTHER`.

    Args:
        lines: Lines that each set of values adds.
        max_bytes: Of all sets together, `OTHER` aside.
        max_sets: Sets of one experiment, `OTHER` aside.
    """

    def __init__(self, lines: int, max_bytes: int, max_sets: int) -> None:
        self._lines = lines
        self._bytes_left = max_bytes
        self._max_sets = max_sets
        self._known: dict[str, set[Hashable]] = {}

    def admits(self, experiment: str, *values: str) -> bool:
        """Whether these values have a share, which they keep."""
        known = self._known.get(experiment, set())
        if values in known:
            return True
        size = self._lines * (LINE_BYTES + len(experiment) + sum(map(len, values)))
        if (len(known) >= self._max_sets and values != (OTHER,)) or size > self._bytes_left:
            return False
        self._bytes_left -= size
        self._known.setdefault(experiment, set()).add(values)
        return True
