"""Finds the pairs of arms that differ in one switch of the reward alone."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from replication.arms import Arm


class Change(NamedTuple):
    """A numeric field of the scoring config, raised from one value to another.

    Attributes:
        switch: The field of the scoring config.
        low: The lower value.
        high: The higher value.
    """

    switch: str
    low: float
    high: float


Pair = tuple[str, str]
"""The names of the arm with the higher value and of the arm with the lower one."""


def repeated_changes(arms: Sequence[Arm]) -> Mapping[Change, Sequence[Pair]]:
    """The changes that are the only difference of at least two pairs of arms, with these pairs."""
    found: dict[Change, list[Pair]] = {}
    for one, other in combinations([arm for arm in arms if arm.trained], 2):
        if (one.variant, one.trainer) != (other.variant, other.trainer):
            continue
        theirs, ours = (arm.scoring_config.model_dump() for arm in (one, other))
        differing = [name for name in ours if ours[name] != theirs[name]]
        if len(differing) == 1 and _is_number(ours[differing[0]]) and _is_number(theirs[differing[0]]):
            [name] = differing
            (low, below), (high, above) = sorted([(theirs[name], one.name), (ours[name], other.name)])
            found.setdefault(Change(name, low, high), []).append((above, below))
    return {change: pairs for change, pairs in found.items() if len(pairs) > 1}


def differing(one: Arm, other: Arm) -> list[str]:
    """The settings in which two arms differ; only arms that differ in a single one show what it does.

    A setting of the scoring config has its own name, one of the trainer's `trainer.`, and another reward is `variant`.
    """
    if one.trained != other.trained:
        return ["trained"]
    ours, theirs = (arm.scoring_config.model_dump() for arm in (one, other))
    mine, yours = (_flat(arm.trainer, "trainer.") for arm in (one, other))
    return [
        *(name for name in ours if ours[name] != theirs[name]),
        *(name for name in {**mine, **yours} if mine.get(name) != yours.get(name)),
        *(["variant"] if one.variant != other.variant else []),
    ]


def _flat(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
