"""Results that were recorded before values were kept: their intervals are percentile bootstraps over few seeds.

They cannot be computed again. So what is shown of them is on the safe side: no interval below five seeds, and from five
on one that is widened to a t-interval. p-values that follow from it are upper bounds.
"""

from collections.abc import Mapping
from typing import Any

from replication.intervals import widened
from replication.values import VALUES

Document = Mapping[str, Any]
"""The content of a results.json."""


def is_recorded(document: Document) -> bool:
    """Whether the results have no values: their estimates have no p-values."""
    return any("p" not in arm["test"]["greedy"] for arm in document["arms"])


def as_shown(document: Document) -> Document:
    """A results.json as pages and plots show it; one with values is shown as it is."""
    if not is_recorded(document):
        return document
    return {
        **document,
        "without": VALUES,
        "arms": [_arm(arm) for arm in document["arms"]],
        "switches": [_widened(switch, len(switch["seeds"])) for switch in document["switches"]],
    }


def _arm(arm: Mapping[str, Any]) -> dict[str, Any]:
    seeds = len(arm["seeds"])
    if not arm["curves"]:  # one model, whose rows differ by sampling alone
        return {**arm, "against": {name: _of_pair(pair) for name, pair in arm["against"].items()}}
    learning = arm["learning"]
    return {
        **{name: _widened(found, seeds) for name, found in arm.items()},
        "against": {name: _of_pair(pair) for name, pair in arm["against"].items()},
        "signal": {
            name: found and {**_widened(found, found["seeds"]), "seeds": found["seeds"]}
            for name, found in arm["signal"].items()
        },
        "learning": {**learning, "greedy": [_widened(found, seeds) for found in learning["greedy"]]},
    }


def _of_pair(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _widened(found, len(pair["seeds"])) for name, found in pair.items()}


def _widened(found: Any, seeds: int) -> Any:
    """The same, with every recorded interval in it widened for its number of seeds."""
    if not isinstance(found, Mapping):
        return found
    if found.keys() >= {"mean", "low", "high"}:
        return widened(found["mean"], found["low"], found["high"], seeds).as_dict()
    return {name: _widened(one, seeds) for name, one in found.items()}
