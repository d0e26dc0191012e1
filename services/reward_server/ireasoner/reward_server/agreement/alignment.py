"""Which steps of a group's rollouts correspond to each other: monotonic alignment to a prototype sequence.

G is the number of rollouts, J the steps of the longest one, S the steps of all of them, P the slots of the
prototype, D the embedding dimensions, B the pairs that are aligned at once. Steps in one slot are compared
with each other; the slot of a step that has none is -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Slots = NDArray[np.intp]
Present = NDArray[np.bool_]

REFINEMENTS = 2
"""How often the prototype is replaced by the means of the steps aligned to it."""
CANDIDATES = 16
"""Rollouts tried as the first prototype, each against as many others: groups can be large."""
LEAST_LENGTH = 0.1
"""A vector that is shorter than this is divided by it, and so keeps a length below 1.

Two unit vectors that are this close have a cosine of 0.995. What still separates them is mostly noise of the
embedder, which must not be scaled up to a direction. Dividing by max(length, LEAST_LENGTH) is continuous.
"""


def directed(vectors: Doubles) -> Doubles:
    """v / max(|v|, LEAST_LENGTH) along the last axis: length at most 1, and 0 where v is 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Doubles = vectors / np.maximum(lengths, LEAST_LENGTH)
    return scaled


@dataclass(frozen=True, slots=True)
class StepOrder:
    """Rollout and index of each of S steps that are listed rollout by rollout.

    `member` [S] is the number of the step's rollout, below `members`. `index` [S] is the step's index in that
    rollout, `exists` [S] whether it has an embedding. `longest` is the largest number of steps in a rollout.
    """

    member: Slots
    index: Slots
    exists: Present
    members: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], exists: Present) -> "StepOrder":
        """The order of rollouts with these `lengths` [G]."""
        longest = max(lengths, default=0)
        member, index = np.nonzero(np.arange(longest) < np.array(lengths)[:, None])
        return cls(member, index, exists, len(lengths), longest)

    def sums(self, values: Doubles) -> Doubles:
        """The sum of `values` [S] over the steps of each rollout, [G]."""
        sums = np.bincount(self.member, values, self.members)
        return sums.astype(np.float64)  # without steps numpy gives integers

    def laid_out(self, rows: Doubles) -> Doubles:
        """`rows` [S, D] by rollout and index, [G, J, D]; 0 where there is no step."""
        table = np.zeros((self.members, self.longest, rows.shape[1]))
        table[self.member, self.index] = rows
        return table


def slots_by_index(order: StepOrder) -> Slots:
    """The slot of each step is its index; [S]."""
    return np.where(order.exists, order.index, -1)


def slots_by_alignment(rows: Doubles, order: StepOrder, min_members: int) -> Slots:
    """The slot of each step in the group's prototype sequence, [S]; the order of steps is kept.

    The first prototype is the medoid: the rollout k that maximises
    sum_i 2 A(i, k) / (J_i + J_k), where A(i, k) = max over monotonic matchings M of sum_(j, p) in M of
    max(0, cos(e_ij, e_kp)). All rollouts are aligned to it in the same way. Then each step of the prototype is
    replaced by the mean of the steps aligned to it, and the rollouts are aligned again, REFINEMENTS times.
    Slots that fewer than `min_members` rollouts fill are dropped and the others renumbered, so that a step
    that only one rollout has shifts no other step.

    `rows` [S, D] have length at most 1 and are 0 where a step has no embedding. Of equally good prototypes the
    first wins, so the order of rollouts must not depend on how they were sent.
    """
    if not order.exists.any():
        return np.full(len(rows), -1)
    table = order.laid_out(rows)
    prototype = table[_medoid(table, order.sums(order.exists.astype(np.float64)))]
    slots = _aligned_to(prototype, table)
    for _ in range(REFINEMENTS):
        prototype = directed(_means(table, slots, len(prototype)))
        slots = _aligned_to(prototype, table)
    return _renumbered(slots, len(prototype), min_members)[order.member, order.index]


def monotonic_matching(similarities: Doubles) -> Slots:
    """The matching of steps to slots that maximises the sum of the matched `similarities` [B, J, P].

    Order is kept, and each step matches at most one slot and each slot at most one step. Pairs without a
    positive similarity stay unmatched. Needleman-Wunsch with free gaps. Returns slots [B, J].
    """
    scores = _scores(similarities)
    pairs, steps, width = similarities.shape
    slots = np.full((pairs, steps), -1)
    each = np.arange(pairs)
    column = np.full(pairs, width)
    for step in range(steps - 1, -1, -1):
        # A row's score at `column` is either the score of the row above, or comes from a match at the first
        # column from which the row no longer rises.
        row, above = scores[:, step + 1], scores[:, step]
        reached = (row == row[each, column][:, None]).argmax(axis=1)
        matched = row[each, reached] > above[each, reached]
        slots[:, step] = np.where(matched, reached - 1, -1)
        column = np.where(matched, reached - 1, column)
    return slots


def _scores(similarities: Doubles) -> Doubles:
    """The best sum of similarities of the first j steps and the first p slots, [B, J + 1, P + 1]."""
    pairs, steps, width = similarities.shape
    scores = np.zeros((pairs, steps + 1, width + 1))
    for step in range(steps):
        gains = scores[:, step, :-1] + np.maximum(similarities[:, step], 0.0)
        best = np.maximum(gains, scores[:, step, 1:])
        scores[:, step + 1, 1:] = np.maximum.accumulate(best, axis=1)
    return scores


def _medoid(rows: Doubles, lengths: Doubles) -> int:
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), CANDIDATES)).round().astype(np.intp))
    tried, sizes = rows[chosen], lengths[chosen]
    similarities = np.einsum("ijd,kpd->ikjp", tried, tried)
    agreed = _scores(similarities.reshape(-1, *similarities.shape[2:]))[:, -1, -1]
    typical = 2 * agreed.reshape(len(chosen), -1) / np.maximum(sizes[:, None] + sizes, 1)
    return int(chosen[typical.sum(axis=0).round(9).argmax()])


def _aligned_to(prototype: Doubles, rows: Doubles) -> Slots:
    return monotonic_matching(rows @ prototype.T)


def _means(rows: Doubles, slots: Slots, count: int) -> Doubles:
    filled = (slots[:, :, None] == np.arange(count)).astype(np.float64)
    sums = np.einsum("gjp,gjd->pd", filled, rows)
    means: Doubles = sums / np.maximum(filled.sum(axis=(0, 1)), 1.0)[:, None]
    return means


def _renumbered(slots: Slots, count: int, min_members: int) -> Slots:
    kept = (slots[:, :, None] == np.arange(count)).sum(axis=(0, 1)) >= min_members
    numbers = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # the last is for steps without a slot
    return numbers[slots]
