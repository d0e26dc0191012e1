"""Which of a group's answers are the same answer, and by which rules."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ireasoner.reward_server.answers.canonical import forms_of
from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.answers.form import Form
from ireasoner.reward_server.scoring_config import ScoringConfig

EQUIVALENCE_VERSION = "3"
"""Part of the fingerprint. Raise it with every change that can join, separate or rename any answers."""


@dataclass(frozen=True, slots=True)
class Member:
    """One way in which an answer was written, its count, and the rules that joined it to its cluster."""

    answer: str
    count: int
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clusters:
    """A group's answers, clustered.

    `names` is the name of each rollout's cluster, None if it has no answer. `members` lists how each cluster's answer
    was written. `not_compared` lists the formulas that could not be compared, and why; they stay in separate clusters.
    """

    names: list[str | None]
    members: dict[str, tuple[Member, ...]]
    not_compared: tuple[str, ...]


async def cluster(
    answers: Sequence[str | None], config: ScoringConfig, comparer: ExpressionComparer
) -> Clusters:
    """Clusters answers, given as written with white space folded; None is a rollout without an answer.

    Two answers are the same if their canonical forms or their formulas are equal. That is an equivalence relation and
    does not depend on order. A cluster is named after its most frequent answer, normalised; among equals the shortest,
    then the first in alphabetical order.

    Raises FormulasUnavailable.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    forms = forms_of(sorted(counts), config)
    joined = _Partition(form.key for form in forms.values())
    calculated, not_compared = await _join_formulas(forms, joined, comparer)

    clusters: dict[str, list[str]] = {}
    for answer, form in forms.items():
        clusters.setdefault(joined.root(form.key), []).append(answer)
    names = _names(clusters, forms, counts)
    members = {
        names[root]: tuple(
            Member(answer, counts[answer], forms[answer].rules + calculated.get(forms[answer].key, ()))
            for answer in sorted(written, key=lambda each: (-counts[each], each))
        )
        for root, written in clusters.items()
    }
    name_of = {answer: names[joined.root(form.key)] for answer, form in forms.items()}
    return Clusters(
        [None if answer is None else name_of[answer] for answer in answers], members, not_compared
    )


async def _join_formulas(
    forms: dict[str, Form], joined: "_Partition", comparer: ExpressionComparer
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Joins forms of one kind with equal formulas; returns the rule for each joined key, and what was not compared."""
    calculated: dict[str, tuple[str, ...]] = {}
    not_compared: list[str] = []
    used_s = 0.0
    for kind in sorted({form.kind for form in forms.values()}):
        formulas = {form.key: form for form in forms.values() if form.kind == kind and form.expression}
        if len(formulas) < 2 or all(form.settled for form in formulas.values()):
            continue
        keys: dict[str, list[str]] = {}
        for key in sorted(formulas):
            keys.setdefault(formulas[key].expression or "", []).append(key)
        settled = [form.expression or "" for form in formulas.values() if form.settled]
        equal = await comparer.equal(keys, settled, used_s)
        used_s = equal.cpu_s
        not_compared += equal.not_compared
        for written in equal.classes:
            first, *others = [(key, formula) for formula in written for key in keys[formula]]
            calculated[first[0]] = (f"equal to {others[0][1]}",)
            for key, _ in others:
                joined.join(first[0], key)
                calculated[key] = (f"equal to {first[1]}",)
    return calculated, tuple(not_compared)


def _names(clusters: dict[str, list[str]], forms: dict[str, Form], counts: Counter[str]) -> dict[str, str]:
    """A name for each cluster. If two would get the same name, all are named as they were written."""
    names = {
        root: _most_frequent((forms[each].name, counts[each]) for each in written)
        for root, written in clusters.items()
    }
    if len(set(names.values())) == len(names):
        return names
    return {
        root: _most_frequent((each, counts[each]) for each in written) for root, written in clusters.items()
    }


def _most_frequent(counted: Iterable[tuple[str, int]]) -> str:
    total: Counter[str] = Counter()
    for text, count in counted:
        total[text] += count
    return min(total, key=lambda text: (-total[text], len(text), text))


class _Partition:
    """Disjoint sets of keys."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._parents = {key: key for key in keys}

    def root(self, key: str) -> str:
        """The key that represents the set of `key`."""
        while self._parents[key] != key:
            self._parents[key] = self._parents[self._parents[key]]
            key = self._parents[key]
        return key

    def join(self, one: str, other: str) -> None:
        """Merges two sets; the smaller key represents the result."""
        first, second = sorted((self.root(one), self.root(other)))
        self._parents[second] = first
