"""What a switch of the reward is worth over all pairs of rows that differ in it alone."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from replication.rows import Row


class Change(NamedTuple):
    """A number of the scoring config that is raised.

    Attributes:
        switch: The field of the scoring config.
        low: Its value before.
        high: Its value after.
    """

    switch: str
    low: float
    high: float


Pair = tuple[str, str]
"""The row with the higher value, and the one with the lower, by name."""


def repeated_changes(rows: Sequence[Row]) -> Mapping[Change, Sequence[Pair]]:
    """The changes that more than one pair of rows differ in, and in nothing else, with these pairs."""
    found: dict[Change, list[Pair]] = {}
    for one, other in combinations([row for row in rows if row.trained], 2):
        if (one.variant, one.trainer) != (other.variant, other.trainer):
            continue
        theirs, ours = (row.scoring_config.model_dump() for row in (one, other))
        differing = [name for name in ours if ours[name] != theirs[name]]
        if len(differing) == 1 and _is_number(ours[differing[0]]) and _is_number(theirs[differing[0]]):
            [name] = differing
            (low, below), (high, above) = sorted([(theirs[name], one.name), (ours[name], other.name)])
            found.setdefault(Change(name, low, high), []).append((above, below))
    return {change: pairs for change, pairs in found.items() if len(pairs) > 1}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
