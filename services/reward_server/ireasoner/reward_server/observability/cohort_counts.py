"""What cohorts count for `/metrics`."""

from dataclasses import dataclass


@dataclass(slots=True)
class CohortCounts:
    """What `/metrics` tells: totals since the start. A cohort that failed was full or partial before."""

    full: int = 0
    partial: int = 0
    failed: int = 0
    returned: int = 0
    refused: int = 0
