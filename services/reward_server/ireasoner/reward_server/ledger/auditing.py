"""Audits the runs of a ledger; the arithmetic is in `ireasoner.audit`."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ireasoner.audit import signs
from ireasoner.audit.group import AuditedGroup
from ireasoner.audit.length_gains import length_gain_share
from ireasoner.audit.questions import question_figures
from ireasoner.audit.run_audit import RunAudit, Update, audit, window_of
from ireasoner.audit.templates import template_share
from ireasoner.audit.thresholds import Thresholds
from ireasoner.reward_server.ledger.record import unpacked

QUESTIONS_PER_UPDATE = 16
QUESTION_CHARACTERS = 1_000
GROUPS_PER_UPDATE = 2
"""Of the updates of the first window and of the last, so many are read: the work does not grow with the run."""

_POINTS = """
SELECT at, sum(groups), sum(rollouts), sum(invalid), sum(flat), sum(rewarded), sum(flips), sum(flips_known),
    sum(correct), sum(correct_known), sum(answered), sum(entropy_nats), sum(dominant_share), sum(words),
    sum(counted), sum(steps)
FROM points WHERE run_id = :run AND unit = :unit AND {endpoints} GROUP BY at ORDER BY at
"""
_GROUPS_OF = {
    "update": "SELECT id FROM groups WHERE run_id = :run AND at = :at AND {endpoints} ORDER BY id LIMIT :count",
    "minute": "SELECT id FROM groups INDEXED BY groups_by_time WHERE run_id = :run AND received_s >= 60 * :at "
    "AND received_s < 60 * (:at + 1) AND {endpoints} ORDER BY received_s, id LIMIT :count",
}
_QUESTIONS = f"""
SELECT substr(question, 1, {QUESTION_CHARACTERS}) FROM groups LEFT JOIN questions ON questions.id = question_id
WHERE groups.id IN ({{ids}}) ORDER BY groups.id
"""
_DOCUMENTS = "SELECT document FROM documents WHERE group_id IN ({ids}) ORDER BY group_id"


@dataclass(frozen=True, slots=True)
class AuditedRun:
    """A run of a ledger and its audit.

    Attributes:
        run_id: Its row.
        experiment: Its experiment.
        source: Its source.
        unit: What its updates are: `update`, or `minute` if its groups came without one.
        evicted_groups: Its groups that the ledger no longer has. Their sums still count; figures of `signs.AVERAGED`
            need the groups themselves, and start with the first updates that still have them.
        audit: The result.
    """

    run_id: int
    experiment: str
    source: str
    unit: str
    evicted_groups: int
    audit: RunAudit

    def as_json(self) -> dict[str, Any]:
        """What `GET /ledger/runs/{id}/audit` answers, without the id, and `ireasoner audit --json` prints."""
        return {
            "experiment": self.experiment,
            "source": self.source,
            "unit": self.unit,
            "evicted_groups": self.evicted_groups,
            **self.audit.as_json(),
        }


def run_ids(
    connection: sqlite3.Connection, experiment: str | None = None, source: str | None = None
) -> list[int]:
    """The runs of a ledger, by experiment and source; of one experiment or source alone, if it is given."""
    found = connection.execute(
        "SELECT id FROM runs WHERE (?1 IS NULL OR experiment = ?1) AND (?2 IS NULL OR source = ?2) "
        "ORDER BY experiment, source",
        (experiment, source),
    )
    return [row[0] for row in found]


def audit_run(
    connection: sqlite3.Connection, run_id: int, limits: Thresholds, *, reads_texts: bool = True
) -> AuditedRun:
    """Audits a run; without `reads_texts`, by its sums and questions alone, which takes milliseconds."""
    return _Audit(connection, run_id, limits).result(reads_texts)


class _Audit:
    """One audit of a run: of its Solver's groups, unless it has none."""

    def __init__(self, connection: sqlite3.Connection, run_id: int, limits: Thresholds) -> None:
        self._connection = connection
        self._run_id = run_id
        self._limits = limits
        found = connection.execute(
            "SELECT DISTINCT endpoint = 'proposer', unit FROM points WHERE run_id = ?", (run_id,)
        )
        kinds = {(bool(is_proposer), unit) for is_proposer, unit in found}
        is_proposer = all(of_proposer for of_proposer, _ in kinds)
        self._endpoints = "endpoint = 'proposer'" if is_proposer else "endpoint <> 'proposer'"
        self._unit = "update" if (is_proposer, "update") in kinds else "minute"

    def result(self, reads_texts: bool) -> AuditedRun:
        points = self._rows(_POINTS, unit=self._unit)
        figures = {point[0]: _figures(*point) for point in points}
        for window in self._held_windows([*figures]):
            figures[window[-1]] |= self._of_questions(window)
            if reads_texts:
                figures[window[-1]] |= self._of_texts(window)
        experiment, source = self._connection.execute(
            "SELECT experiment, source FROM runs WHERE id = ?", (self._run_id,)
        ).fetchone()
        updates = [Update(at, known) for at, known in figures.items()]
        return AuditedRun(
            self._run_id, experiment, source, self._unit, self._evicted(), audit(updates, self._limits)
        )

    def _held_windows(self, numbers: Sequence[int]) -> list[list[int]]:
        """The first and the last window of updates that still have groups; none if these overlap."""
        size = window_of(len(numbers), self._limits)
        if len(numbers) < 2 * size:
            return []
        first, last = self._held(numbers, size), self._held(reversed(numbers), size)[::-1]
        return [first, last] if len(first) == size and first[-1] < last[0] else []

    def _held(self, numbers: Iterable[int], count: int) -> list[int]:
        """The first `count` of these updates that still have groups."""
        return list(islice((at for at in numbers if self._groups([at], 1)), count))

    def _of_questions(self, numbers: Sequence[int]) -> dict[str, float]:
        """The figures of a window's questions; none if the caller sent no questions."""
        questions = self._of_groups(_QUESTIONS, self._groups(numbers, QUESTIONS_PER_UPDATE))
        proposals = [row[0] for row in questions]
        return question_figures(proposals) if any(proposal is not None for proposal in proposals) else {}

    def _of_texts(self, numbers: Sequence[int]) -> dict[str, float]:
        """The figures of a window's steps and rewards."""
        documents = self._of_groups(_DOCUMENTS, self._groups(numbers, GROUPS_PER_UPDATE))
        groups = [
            AuditedGroup.of(document["group"], document["scored"])
            for document in (unpacked(row[0]) for row in documents)
        ]
        found = {signs.TEMPLATES: template_share(groups), signs.LENGTH_GAINS: length_gain_share(groups)}
        return {name: share for name, share in found.items() if share is not None}

    def _groups(self, numbers: Sequence[int], count: int) -> list[int]:
        """Ids of the first groups of each of these updates."""
        return [row[0] for at in numbers for row in self._rows(_GROUPS_OF[self._unit], at=at, count=count)]

    def _rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of a query about the run's groups."""
        found = self._connection.execute(
            query.format(endpoints=self._endpoints), {"run": self._run_id, **values}
        )
        return [tuple(row) for row in found]

    def _of_groups(self, query: str, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        marks = ", ".join("?" * len(ids))
        return [tuple(row) for row in self._connection.execute(query.format(ids=marks), ids)]

    def _evicted(self) -> int:
        row = self._connection.execute(
            "SELECT groups FROM evictions WHERE run_id = ?", (self._run_id,)
        ).fetchone()
        return 0 if row is None else int(row[0])


def _figures(
    _at: int,
    groups: int,
    rollouts: int,
    invalid: int,
    flat: int,
    rewarded: int,
    flips: int,
    flips_known: int,
    correct: int,
    correct_known: int,
    answered: int,
    entropy_nats: float,
    dominant_share: float,
    words: float,
    counted: int,
    steps: float,
) -> dict[str, float]:
    """The figures of an update, given the sums over its groups."""
    fractions = {
        signs.ENTROPY: (entropy_nats, answered),
        signs.DOMINANT: (dominant_share, groups),
        signs.LABELS: (correct, correct_known),
        signs.FLAT: (flat, rewarded),
        signs.FLIPS: (flips, flips_known),
        signs.INVALID: (invalid, rollouts),
        signs.WORDS: (words, groups),
        signs.STEPS: (steps, counted),
    }
    return {name: total / count for name, (total, count) in fractions.items() if count}
