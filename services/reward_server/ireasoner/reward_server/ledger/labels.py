"""Which of a group's answers are right, where the caller sent labels: for people and diagnostics alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from ireasoner.reward_server.answers.canonical import forms_of
from ireasoner.reward_server.scoring_config import ScoringConfig


def knows_clusters(scored: Mapping[str, Any]) -> bool:
    """Whether the clusters of a group were kept: not if its request was too large to be kept with detail full."""
    return scored["dominant_answer"] is None or bool(scored.get("clusters"))


class Labels:
    """The right answers of one group. They are compared by value, whatever `equivalence` the rewards used."""

    def __init__(self, labels: Sequence[str], config: ScoringConfig) -> None:
        self._labels = [_folded(label) for label in labels]
        self._config = config

    def right(self, scored: Mapping[str, Any]) -> dict[str, int] | None:
        """The clusters whose answer is right, with their counts; None without labels, or if no clusters were kept."""
        if not self._labels or not knows_clusters(scored):
            return None
        written = {
            cluster["answer"]: [
                _folded(each)
                for each in (cluster["answer"], *(m["answer"] for m in cluster.get("members", ())))
            ]
            for cluster in scored.get("clusters", ())
        }
        answers = [answer for spellings in written.values() for answer in spellings]
        keys = {
            answer: form.key for answer, form in forms_of([*self._labels, *answers], self._config).items()
        }
        right = {keys[label] for label in self._labels}
        return {
            cluster["answer"]: cluster["count"]
            for cluster in scored.get("clusters", ())
            if any(keys[answer] in right for answer in written[cluster["answer"]])
        }


def _folded(answer: str) -> str:
    return " ".join(answer.split())
