"""How similar the questions of a run are, in one update and over the last updates."""

from collections import Counter, deque
from collections.abc import Sequence

from ireasoner.audit.signs import DISTINCT, NEAR_DUPLICATE
from ireasoner.audit.words import words

_ALIKE = 0.8


def alike_shares(proposals: Sequence[str | None]) -> list[float]:
    """The share of all proposals, in (0, 1], that are in the cluster of each; None (no question) is like nothing else.

    A cluster holds the questions that are near duplicates, as in `near_duplicate_share`, or linked by a chain of them.
    The shares do not depend on the order of the proposals.
    """
    asked = [None if each is None else frozenset(words(each)) for each in proposals]
    distinct = {own for own in asked if own is not None}
    clusters: list[set[frozenset[str]]] = []
    for own in distinct:
        linked = [cluster for cluster in clusters if any(_alike(own, other) for other in cluster)]
        clusters = [cluster for cluster in clusters if cluster not in linked] + [{own}.union(*linked)]
    cluster_of = {own: index for index, cluster in enumerate(clusters) for own in cluster}
    sizes = Counter(cluster_of[own] for own in asked if own is not None)
    return [(1 if own is None else sizes[cluster_of[own]]) / len(proposals) for own in asked]


def near_duplicate_share(questions: Sequence[str]) -> float:
    """Share of questions, in [0, 1], that nearly or exactly repeat an earlier one; 0 for an empty list.

    Two questions are near duplicates if their sets of words, case folded, overlap by at least 0.8 (Jaccard).
    """
    seen: set[frozenset[str]] = set()
    alike = 0
    for question in questions:
        own = frozenset(words(question))
        alike += own in seen or any(_alike(own, other) for other in seen)
        seen.add(own)
    return alike / len(questions) if questions else 0.0


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _ALIKE * len(one | other)


def question_figures(proposals: Sequence[str | None]) -> dict[str, float]:
    """The figures, in [0, 1], of all proposals of a window, None for one without a question; none without proposals.

    They are distinct questions over proposals, and the share of near duplicates among the questions.
    """
    if not proposals:
        return {}
    asked = [question for question in proposals if question is not None]
    return {DISTINCT: len(set(asked)) / len(proposals), NEAR_DUPLICATE: near_duplicate_share(asked)}


class RecentQuestions:
    """The questions of the last updates; each update may have only one.

    Args:
        updates: Number of updates to remember.
    """

    def __init__(self, updates: int) -> None:
        self._proposed: deque[Sequence[str | None]] = deque(maxlen=updates)

    def add(self, proposed: Sequence[str | None]) -> dict[str, float]:
        """Adds an update's proposals (None for one without a question); returns the figures of all remembered ones.

        They are left out until the memory is full: among fewer questions, more are distinct.
        """
        self._proposed.append(proposed)
        if len(self._proposed) < (self._proposed.maxlen or 0):
            return {}
        return question_figures([proposal for update in self._proposed for proposal in update])
