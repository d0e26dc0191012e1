"""Steps that would fit any question: they are as close to another question's steps as to their own group's."""

from collections.abc import Iterable, Sequence, Set
from itertools import pairwise

from ireasoner.audit.group import AuditedGroup
from ireasoner.audit.words import words

MAX_ROLLOUTS = 4
MAX_STEPS = 8
MAX_CHARACTERS = 1_000
"""Rollouts of a group, steps of a rollout and characters of a step that are compared, at most: every step is compared
with every other one."""

_Pairs = frozenset[tuple[str, str]]


def template_share(groups: Sequence[AuditedGroup]) -> float | None:
    """Share of steps, in [0, 1], that are templates; None if nothing can be compared.

    A step is compared with the steps of its group's other rollouts, and with those of as many rollouts of the next
    group that has another question. Two steps are as close as their sets of neighbouring words, case folded, overlap
    (Jaccard): word order counts, and no embedder is needed. A step that is close to none is no template.
    """
    read = [_Steps(group) for group in groups]
    found = [
        is_template
        for index, steps in enumerate(read)
        if (other := _next_question(read, index)) is not None
        for is_template in steps.templates(other)
    ]
    return sum(found) / len(found) if found else None


class _Steps:
    """The steps of a group, by rollout."""

    def __init__(self, group: AuditedGroup) -> None:
        self.question = group.question
        self._rollouts = [
            pairs
            for rollout in group.rollouts[:MAX_ROLLOUTS]
            if (pairs := [_word_pairs(step.text[:MAX_CHARACTERS]) for step in rollout.steps[:MAX_STEPS]])
        ]

    def templates(self, other: "_Steps") -> Iterable[bool]:
        """Whether each step is a template; none if the group has only one rollout with steps."""
        for index, steps in enumerate(self._rollouts):
            own = {pairs for each in self._rollouts[:index] + self._rollouts[index + 1 :] for pairs in each}
            count = len(self._rollouts) - 1
            elsewhere = {pairs for each in other._rollouts[:count] for pairs in each}
            if own and elsewhere:
                yield from (0 < _closest(step, elsewhere) >= _closest(step, own) for step in steps)


def _next_question(groups: Sequence[_Steps], index: int) -> _Steps | None:
    """The next group, from the first again after the last, that is known to have another question."""
    question = groups[index].question
    if question is None:
        return None
    following = (*groups[index + 1 :], *groups[:index])
    return next((group for group in following if group.question not in (None, question)), None)


def _word_pairs(step: str) -> _Pairs:
    """The pairs of neighbouring words, the borders of the step included."""
    return frozenset(pairwise(("", *words(step), "")))


def _closest(step: _Pairs, others: Set[_Pairs]) -> float:
    """The largest overlap with any of `others`, in [0, 1]."""
    if step in others:
        return 1.0
    shared = ((len(step & other), len(other)) for other in others)
    return max(common / (len(step) + size - common) for common, size in shared)
