"""How a group's answers add up: clusters, the dominant answer, and the rule for ties."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_EXACT_TO = 9
"""Digits after the point to which votes are compared: what is equal on paper is a tie."""


@dataclass(frozen=True, slots=True)
class Vote:
    """A group's answers. `clusters` holds (answer, count), the `tied` dominant ones first; `size` is N.

    `weights` holds by what each answer's count is multiplied, where that is not 1. Rollouts without an
    answer have no cluster, and count in `size`.
    """

    clusters: tuple[tuple[str, int], ...]
    weights: Mapping[str, float]
    tied: int
    size: int

    @property
    def dominant(self) -> str | None:
        """The dominant answer; None if there is no answer at all."""
        return self.clusters[0][0] if self.clusters else None

    def share(self, answer: str | None) -> float:
        """p(a), the share of the whole group whose answer is `answer`; 0 for None."""
        for known, count in self.clusters:
            if known == answer:
                return count / self.size
        return 0.0

    def weighed_share(self, answer: str | None) -> float:
        """w(a) p(a), in [0, 1]; 0 for None."""
        return 0.0 if answer is None else self.share(answer) * self.weights.get(answer, 1.0)


def count_votes(answers: Sequence[str | None], weights: Mapping[str, float] | None = None) -> Vote:
    """Counts the answers of one group; None is a rollout without an answer, which does not vote.

    Dominant is the answer whose count times its weight, in [0, 1] and 1 unless `weights` says otherwise, is
    largest. Equal ones come in the order of a hash of all the votes and the answer itself. So the dominant
    one of tied answers is the same however the rollouts are ordered, depends on the votes alone, and favours
    no kind of answer over many groups (the alphabet would favour small numbers).
    """
    weights = weights or {}
    counts = Counter(answer for answer in answers if answer is not None)
    votes = sorted(counts.items())
    strength = {answer: round(count * weights.get(answer, 1.0), _EXACT_TO) for answer, count in votes}
    crowded = Counter(strength.values())

    def place(cluster: tuple[str, int]) -> tuple[float, bytes]:
        answer, _ = cluster
        if crowded[strength[answer]] == 1:
            return -strength[answer], b""
        return -strength[answer], hashlib.sha256(json.dumps([votes, answer]).encode()).digest()

    clusters = tuple(sorted(votes, key=place))
    tied = crowded[strength[clusters[0][0]]] if clusters else 0
    return Vote(clusters, weights, tied, len(answers))
