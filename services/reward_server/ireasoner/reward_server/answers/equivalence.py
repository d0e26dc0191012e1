"""Which of a group's answers are the same answer, and by which rules."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ireasoner.reward_server.answers.canonical import forms_of
from ireasoner.reward_server.answers.form import Form
from ireasoner.reward_server.answers.formulas import ExpressionComparer
from ireasoner.reward_server.scoring_config import ScoringConfig

EQUIVALENCE_VERSION = "3"
"""Part of the fingerprint. Raise it with every change that can join, separate or rename any answers."""
MAX_FORMULAS = 32
"""Most distinct formulas of one group that are compared with each other, in pairs."""
MAX_GIVEN_UP = 3
"""Pairs of one group that may be given up before the others are left uncompared."""


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

    Two answers are the same if their canonical forms or their formulas are equal, or if a chain of such pairs connects
    them. That is an equivalence relation and does not depend on order. A cluster is named after its most frequent
    answer, normalised; among equals the shortest, then the first in alphabetical order.

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
        [None if answer is None else name_of[answer] for answer in answers], members, tuple(not_compared)
    )


async def _join_formulas(
    forms: dict[str, Form], joined: "_Partition", comparer: ExpressionComparer
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Joins forms whose formulas are equal; returns the rule for each joined key, and what was not compared."""
    formulas = {form.key: form for form in forms.values() if form.expression is not None}
    calculated: dict[str, tuple[str, ...]] = {}
    not_compared: list[str] = []
    if all(form.settled for form in formulas.values()):
        return calculated, not_compared
    keys = sorted(formulas)
    if len(keys) > MAX_FORMULAS:
        not_compared.append(f"{len(keys)} formulas; at most {MAX_FORMULAS} are compared with each other")
        return calculated, not_compared
    given_up = 0
    for one, other in combinations(keys, 2):
        first, second = formulas[one], formulas[other]
        if first.kind != second.kind or (first.settled and second.settled):
            continue
        if joined.root(one) == joined.root(other):
            continue
        assert first.expression is not None
        assert second.expression is not None
        if given_up == MAX_GIVEN_UP:
            not_compared.append(f"the remaining pairs: these {given_up} took all of the group's time")
            break
        compared = await comparer.compare(first.expression, second.expression)
        given_up += compared.gave_up
        if compared.equal:
            joined.join(one, other)
            for key, equal_to in ((one, second.expression), (other, first.expression)):
                calculated.setdefault(key, (f"equal to {equal_to}",))
        elif compared.reason is not None:
            not_compared.append(f"{first.expression} and {second.expression}: {compared.reason}")
    return calculated, not_compared


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
