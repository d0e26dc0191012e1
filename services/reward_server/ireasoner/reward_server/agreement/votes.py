"""How a group's answers add up: clusters, the dominant answer, and the rule for ties."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vote:
    """A group's answers. `clusters` holds (answer, count), the `tied` dominant ones first; `size` is N.

    `weights` holds by what each answer's count is multiplied, 1 where it has none. Rollouts without an
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
    largest. Of equal ones the one with more votes comes first, and then the order is that of a hash of all
    the votes and the answer itself. So the dominant one of tied answers is the same however the rollouts are
    ordered, depends on the votes alone, and favours no kind of answer over many groups (the alphabet would
    favour small numbers).
    """
    weights = weights or {}
    counts = Counter(answer for answer in answers if answer is not None)
    votes = sorted(counts.items())
    places = {answer: (_strength(count, weights.get(answer)), count) for answer, count in votes}
    crowded = Counter(places.values())

    def order(cluster: tuple[str, int]) -> tuple[float, int, bytes]:
        strength, count = place = places[cluster[0]]
        if crowded[place] == 1:
            return -strength, -count, b""
        return -strength, -count, hashlib.sha256(json.dumps([votes, cluster[0]]).encode()).digest()

    clusters = tuple(sorted(votes, key=order))
    strongest = max((strength for strength, _ in places.values()), default=0.0)
    tied = sum(strength == strongest for strength, _ in places.values())
    return Vote(clusters, weights, tied, len(answers))


def _strength(count: int, weight: float | None) -> float:
    """Count times weight, to 12 digits: what is equal on paper is a tie."""
    return count if weight is None else float(f"{count * weight:.12g}")
