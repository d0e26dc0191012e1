"""What runs cost, from the times of the committed tables."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).resolve().parent.parent / "docs" / "replication" / "results.json"
_RECORDED_PARALLEL = 8
"""Runs at a time when the committed runs were made that did not record their cost."""


def core_minutes_of_run(seconds: float, parallel: int) -> float:
    """Core-minutes of a run on this machine: its seconds, times the cores, divided by the runs that share them."""
    return round(seconds / 60 * (os.cpu_count() or 1) / parallel, 2)


def core_minutes(document: Mapping[str, Any], arm: Mapping[str, Any]) -> float:
    """Core-minutes of a run of an arm, mean over its seeds."""
    if "core_minutes" in arm:
        return float(arm["core_minutes"])
    return float(sum(arm["seconds"].values()) / 60 * document["machine"]["cores"] / _RECORDED_PARALLEL)


def hours(runs: int, cores: int) -> str:
    """How long so many runs take on a machine like that of the committed table, to read: `2.5`."""
    document = json.loads(_RESULTS.read_text(encoding="utf-8"))
    each = [core_minutes(document, arm) for arm in document["arms"] if arm["curves"]]
    return f"{runs * sum(each) / len(each) / cores / 60:.1f}"
