"""What `make bench` last measured, as the figure that capacity is reckoned with."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import Row, read
from benchmarks.workload import GROUPS, groups

LATEST = Path(__file__).with_name("latest.json")
REQUESTS_IN_FLIGHT = 3


def served(runtime: str, count: int = GROUPS) -> str:
    """How the rows of a runtime begin that tell of requests of `count` groups, on one core and with nothing cached."""
    return f"{runtime}: served, {count} groups a request, {REQUESTS_IN_FLIGHT} in flight, against"


SERVED = served("openvino-bf16") + " forward pass"
"""The row of the default runtime."""


class NotMeasured(Exception):
    """The file of the benchmark lacks the row that is needed."""


def groups_per_s(rows: Sequence[Row] | None = None) -> float:
    """Groups of the benchmark's workload that one core scores a second; by the rows of `LATEST` unless given.

    Raises:
        NotMeasured: The row is not among them.
    """
    known = read(LATEST) if rows is None else rows
    steps_per_s = next((row.ours for row in known if row.name == SERVED), None)
    if steps_per_s is None:
        raise NotMeasured(f"no row {SERVED!r}: run make bench")
    return steps_per_s / steps_a_group()


def steps_a_group() -> float:
    """Mean number of steps in a group of the benchmark's workload."""
    return sum(len(rollout.steps) for group in groups(1) for rollout in group) / GROUPS
