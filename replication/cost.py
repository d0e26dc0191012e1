"""What runs cost."""

import os
from collections.abc import Mapping
from typing import Any

_CORE_MINUTES = 3.5
"""Core-minutes of a run on two cores, with as many runs at a time as fill them."""
_FEW, _COST_OF_FEW = 4, 1.5
"""With fewer runs at a time a core waits now and then, and a run takes half as much again."""
_RECORDED_CORES, _RECORDED_PARALLEL = 2, 8
"""The cores and the runs at a time of the committed runs that did not record their cost."""


def core_minutes_of_run(seconds: float, parallel: int) -> float:
    """Core-minutes of a run on this machine: its seconds, times the cores, divided by the runs at a time.

    A run that shares the machine with fewer, at the end of a table, is faster and seems to cost less than it does.
    """
    return round(seconds / 60 * (os.cpu_count() or 1) / parallel, 2)


def core_minutes(arm: Mapping[str, Any]) -> float:
    """Core-minutes of a run of an arm of a results.json, mean over its seeds."""
    if "core_minutes" in arm:
        return float(arm["core_minutes"])
    return float(sum(arm["seconds"].values()) / 60 * _RECORDED_CORES / _RECORDED_PARALLEL)


def hours(runs: int, cores: int, parallel: int) -> str:
    """About how long so many runs take, to read: `2.5`."""
    each = _CORE_MINUTES * (_COST_OF_FEW if parallel < _FEW else 1.0)
    return f"{runs * each / cores / 60:.1f}"
