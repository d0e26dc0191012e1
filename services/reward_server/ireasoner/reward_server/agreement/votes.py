"""How a group's answers add up: their counts, the dominant answer and the rule for ties."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vote:
    """The answers of a group of `size` rollouts.

    `clusters` are pairs of answer and count, the dominant answer first; the first `tied` of them are equally
    strong. `weights` are the factors of the counts, 1 for an answer that is not in it. A rollout without an
    answer is in no cluster but counts in `size`.
    """

    clusters: tuple[tuple[str, int], ...]
    weights: Mapping[str, float]
    tied: int
    size: int

    @property
    def dominant(self) -> str | None:
        """The dominant answer; None if no rollout has an answer."""
        return self.clusters[0][0] if self.clusters else None

    def share(self, answer: str | None) -> float:
        """p(a), the share of the whole group that gave `answer`; 0 for None."""
        for known, count in self.clusters:
            if known == answer:
                return count / self.size
        return 0.0

    def weighted_share(self, answer: str | None) -> float:
        """w(a) p(a), in [0, 1]; 0 for None."""
        return 0.0 if answer is None else self.share(answer) * self.weights.get(answer, 1.0)


def count_votes(answers: Sequence[str | None], weights: Mapping[str, float] | None = None) -> Vote:
    """Counts the answers of one group; None is a rollout without an answer, which does not vote.

    The dominant answer has the largest product of count and weight; `weights` are in [0, 1], 1 by default.
    Among equal products the larger count wins, then a hash of all votes and the answer. So the winner of a tie
    depends on the votes alone, not on the order of rollouts, and over many groups no kind of answer is
    favoured. (Alphabetical order would favour small numbers.)
    """
    weights = weights or {}
    counts = Counter(answer for answer in answers if answer is not None)
    votes = sorted(counts.items())
    ranks = {answer: (_strength(count, weights.get(answer)), count) for answer, count in votes}
    of_rank = Counter(ranks.values())

    def order(cluster: tuple[str, int]) -> tuple[float, int, bytes]:
        strength, count = rank = ranks[cluster[0]]
        if of_rank[rank] == 1:
            return -strength, -count, b""
        return -strength, -count, hashlib.sha256(json.dumps([votes, cluster[0]]).encode()).digest()

    clusters = tuple(sorted(votes, key=order))
    strongest = max((strength for strength, _ in ranks.values()), default=0.0)
    tied = sum(strength == strongest for strength, _ in ranks.values())
    return Vote(clusters, weights, tied, len(answers))


@dataclass(frozen=True, slots=True)
class Electorate:
    """The votes by which a rollout's answer is judged: those of its own group, or of some other rollouts.

    `counts` are the votes of each answer, `weights` their factors, 1 for an answer that is not in it. `size` is the
    number of voters M, those without an answer included.
    """

    counts: Mapping[str, int]
    weights: Mapping[str, float]
    size: int

    def share(self, answer: str | None) -> float:
        """p(a), the share of the voters who gave `answer`; 0 for None."""
        return 0.0 if answer is None else self.counts.get(answer, 0) / self.size

    def weighted_share(self, answer: str | None) -> float:
        """w(a) p(a), in [0, 1]; 0 for None."""
        return 0.0 if answer is None else self.share(answer) * self.weights.get(answer, 1.0)

    def modes(self) -> list[str]:
        """The answers with the largest product of count and weight, tied ones all; empty without votes."""
        strengths = {a: _strength(count, self.weights.get(a)) for a, count in self.counts.items()}
        strongest = max(strengths.values(), default=0.0)
        return [answer for answer, strength in strengths.items() if strength == strongest]


def _strength(count: int, weight: float | None) -> float:
    """Count times weight, to 12 digits, so that what is equal on paper is a tie."""
    return count if weight is None else float(f"{count * weight:.12g}")
