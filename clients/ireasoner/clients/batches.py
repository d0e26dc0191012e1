"""Which rows of a framework's batch form a group, and how far its training is."""

from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Any

from ireasoner.clients.errors import RewardError


class SplitGroups(RewardError):
    """A batch does not consist of whole groups of the expected size."""


def siblings(keys: Sequence[Hashable], *sizes: int | None) -> list[range]:
    """The indices of each group in a batch with contiguous groups, which are runs of equal keys.

    `sizes` are the possible sizes of a group, in training and in evaluation. One prompt can occur in a batch more than
    once, so a run whose length is a multiple of a size, of the largest such size, is split into groups of that size.
    """
    groups: list[range] = []
    start = 0
    for _, run in groupby(keys):
        end = start + len(list(run))
        step = max((size for size in sizes if size and (end - start) % size == 0), default=end - start)
        groups += [range(first, first + step) for first in range(start, end, step)]
        start = end
    return groups


def gathered(keys: Sequence[Hashable]) -> list[list[int]]:
    """The indices of each group in a batch in any order: those with equal keys."""
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return list(groups.values())


def progress_of(trainer_state: Any) -> float:
    """The progress of a transformers trainer, in [0, 1]; 1 if it is unknown."""
    steps = getattr(trainer_state, "max_steps", 0) or 0
    return min(1.0, trainer_state.global_step / steps) if steps > 0 else 1.0
