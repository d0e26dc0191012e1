"""The comparisons of the forest plot: each arm of each table with the arm that is paid for answers alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replication.recorded import Document
from replication.results import BOTH, OUTCOME_ONLY, against_reference, compared_metric

ROWS = (
    "base",
    "random",
    OUTCOME_ONLY,
    "full",
    "outcome-distinct",
    "robust-without-distinct-exponent",
    "true-answers",
    "reference-faithful",
)
"""The arms of the main table that the first page shows; of the other tables it shows all."""

_LABELS = {"robust": "robust as it was", "robust-without-distinct-exponent": "robust, our preset"}
"""Labels of arms whose names do not tell which version of the preset they are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        arm: The arm.
        kind: `method` or `control`.
        seeds: Number of seeds.
        found: The difference in greedy accuracy, or in that of a sample: `mean`, `low` and `high`.
        by_seed: The difference of each seed; empty if it was not kept.
    """

    arm: str
    kind: str
    seeds: int
    found: Mapping[str, Any]
    by_seed: Sequence[float]

    @property
    def label(self) -> str:
        """The arm, to read; both versions of the preset `robust` say which one they are."""
        return _LABELS.get(self.arm, self.arm)


@dataclass(frozen=True, slots=True)
class Section:
    """The comparisons of one table."""

    title: str
    rows: Sequence[Row]


def sections(documents: Mapping[str, Document]) -> list[Section]:
    """The comparisons of each table, by title; the first one is the main table."""
    made = [
        Section(
            f"{title}, avg@{document['samples']}" if compared_metric(document) == "sampled" else title,
            _rows(document, ROWS if index == 0 else None),
        )
        for index, (title, document) in enumerate(documents.items())
    ]
    return [section for section in made if section.rows]


def _rows(document: Document, wanted: Sequence[str] | None) -> list[Row]:
    kinds = {arm["arm"]: arm["kind"] for arm in document["arms"]}
    metric = compared_metric(document)
    return [
        Row(
            name,
            kinds[name],
            len(pair["seeds"]),
            pair[BOTH][metric],
            pair.get("by_seed", {}).get(metric, ()),
        )
        for name, (_, pair) in against_reference(document).items()
        if wanted is None or name in wanted
    ]
