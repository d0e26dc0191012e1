"""The comparisons of the forest plot: each arm of each table with the arm that is paid for answers alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replication.recorded import Document
from replication.results import BOTH, OUTCOME_ONLY, against_reference, compared_metric
from replication.table import seeds_of

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
"""The arms that the first page shows of a table with many."""

_MOST_SHOWN = 12
"""Of a table with more arms the forest shows `ROWS` alone."""

_LABELS = {"robust": "robust as it was", "robust-without-distinct-exponent": "robust, our preset"}
"""Labels of arms whose names do not tell which version of the preset they are."""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        arm: The arm.
        kind: `method` or `control`.
        seeds: The number of seeds of the comparison, to read; the base model is one model.
        found: The difference in greedy accuracy, or in that of a sample: `mean`, `low` and `high`.
        by_seed: The difference of each seed.
    """

    arm: str
    kind: str
    seeds: str
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
    """The comparisons of each table whose answers were kept, by title; intervals of the others can't be computed."""
    made = [
        Section(
            f"{title}, avg@{document['samples']}" if compared_metric(document) == "sampled" else title,
            _rows(document),
        )
        for title, document in documents.items()
        if "without" not in document
    ]
    return [section for section in made if section.rows]


def _rows(document: Document) -> list[Row]:
    arms = {arm["arm"]: arm for arm in document["arms"]}
    metric = compared_metric(document)
    return [
        Row(
            name,
            arms[name]["kind"],
            seeds_of({**arms[name], "seeds": pair["seeds"]}),
            pair[BOTH][metric],
            pair["by_seed"][metric],
        )
        for name, (_, pair) in against_reference(document).items()
        if len(arms) <= _MOST_SHOWN or name in ROWS
    ]
