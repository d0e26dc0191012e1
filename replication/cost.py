"""What runs cost, from the times of the committed table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).resolve().parent.parent / "docs" / "replication" / "results.json"
_RECORDED_PARALLEL = 8
"""Runs at a time in the tables that do not say."""


def core_minutes(document: Mapping[str, Any], arm: Mapping[str, Any]) -> float:
    """Core-minutes of a run of an arm: its seconds, times the cores, divided by the runs that shared them."""
    cores = document["machine"]["cores"] / document.get("parallel", _RECORDED_PARALLEL)
    return float(sum(arm["seconds"].values()) / 60 * cores)


def hours(runs: int, cores: int) -> str:
    """How long so many runs take on a machine like that of the committed table, to read: `2.5`."""
    document = json.loads(_RESULTS.read_text(encoding="utf-8"))
    each = [core_minutes(document, arm) for arm in document["arms"] if arm["curves"]]
    return f"{runs * sum(each) / len(each) / cores / 60:.1f}"
