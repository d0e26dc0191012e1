"""Which steps of a group's rollouts correspond to each other: monotonic alignment to a prototype sequence.

G is the number of rollouts, J the steps of the longest one, S the steps of all of them, U their distinct vectors,
P the slots of the prototype, D the embedding dimensions, B the pairs that are aligned at once. Steps in one slot
are compared with each other; the slot of a step that has none is -1. No array has S x D numbers: a group may repeat
a few steps very often.
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
AT_ONCE = 2**18
"""Numbers in an array that is computed in parts, 2 MiB: what a large group takes then hardly depends on its size."""


def directed(vectors: Doubles) -> Doubles:
    """v / max(|v|, LEAST_LENGTH) along the last axis: length at most 1, and 0 where v is 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Doubles = vectors / np.maximum(lengths, LEAST_LENGTH)
    return scaled


@dataclass(frozen=True, slots=True)
class StepVectors:
    """The vectors of S steps, each distinct one once: `rows` [U, D] and the row of each step, `row` [S].

    Rows have length at most 1. A row that is 0 where `present` [U] is false stands for a step without embedding.
    """

    rows: Doubles
    row: Slots
    present: Present

    @property
    def exists(self) -> Present:
        """Whether each step has an embedding, [S]."""
        exists: Present = self.present[self.row]
        return exists

    def part(self, span: slice) -> "StepVectors":
        """The vectors of some of the steps."""
        return StepVectors(self.rows, self.row[span], self.present)

    def sums(self, slots: Slots, count: int) -> Doubles:
        """The sum of the vectors in each of `count` slots, [P, D]; `slots` [S] is -1 for steps that are left out."""
        placed = slots >= 0
        pairs = slots[placed] * len(self.rows) + self.row[placed]
        times = np.bincount(pairs, minlength=count * len(self.rows)).reshape(count, len(self.rows))
        summed: Doubles = times.astype(np.float64) @ self.rows
        return summed


@dataclass(frozen=True, slots=True)
class StepOrder:
    """Rollout and index of each of S steps that are listed rollout by rollout.

    `member` [S] is the number of the step's rollout, below `members`. `index` [S] is the step's index in that
    rollout. `longest` is the largest number of steps in a rollout.
    """

    member: Slots
    index: Slots
    members: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "StepOrder":
        """The order of rollouts with these `lengths` [G]."""
        longest = max(lengths, default=0)
        member, index = np.nonzero(np.arange(longest) < np.array(lengths)[:, None])
        return cls(member, index, len(lengths), longest)

    def sums(self, values: Doubles) -> Doubles:
        """The sum of `values` [S] over the steps of each rollout, [G]."""
        sums = np.bincount(self.member, values, self.members)
        return sums.astype(np.float64)  # without steps numpy gives integers

    def laid_out(self, row: Slots) -> Slots:
        """`row` [S] by rollout and index, [G, J]; -1 where there is no step."""
        table = np.full((self.members, self.longest), -1)
        table[self.member, self.index] = row
        return table


def slots_by_index(vectors: StepVectors, order: StepOrder) -> Slots:
    """The slot of each step is its index; [S]."""
    return np.where(vectors.exists, order.index, -1)


def slots_by_alignment(vectors: StepVectors, order: StepOrder, min_members: int) -> Slots:
    """The slot of each step in the group's prototype sequence, [S]; the order of steps is kept.

    The first prototype is the medoid: the rollout k that maximises
    sum_i 2 A(i, k) / (J_i + J_k), where A(i, k) = max over monotonic matchings M of sum_(j, p) in M of
    max(0, cos(e_ij, e_kp)). All rollouts are aligned to it in the same way. Then each step of the prototype is
    replaced by the mean of the steps aligned to it, and the rollouts are aligned again, REFINEMENTS times.
    Slots that fewer than `min_members` rollouts fill are dropped and the others renumbered, so that a step
    that only one rollout has shifts no other step.

    Of equally good prototypes the first wins, so the order of rollouts must not depend on how they were sent.
    """
    exists = vectors.exists
    if not exists.any():
        return np.full(len(exists), -1)
    table = order.laid_out(vectors.row)
    prototype = _medoid(vectors.rows, table, order.sums(exists.astype(np.float64)))
    slots = _aligned_to(prototype, vectors.rows, table, order)
    for _ in range(REFINEMENTS):
        prototype = _means(vectors, slots, len(prototype))
        slots = _aligned_to(prototype, vectors.rows, table, order)
    return _renumbered(slots, len(prototype), min_members)


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


def _medoid(rows: Doubles, table: Slots, lengths: Doubles) -> Doubles:
    """The steps [J, D] of the rollout that is most like the others."""
    chosen = np.unique(np.linspace(0, len(table) - 1, min(len(table), CANDIDATES)).round().astype(np.intp))
    tried, sizes = _padded(rows)[table[chosen]], lengths[chosen]
    similarities = np.einsum("ijd,kpd->ikjp", tried, tried)
    agreed = _scores(similarities.reshape(-1, *similarities.shape[2:]))[:, -1, -1]
    typical = 2 * agreed.reshape(len(chosen), -1) / np.maximum(sizes[:, None] + sizes, 1)
    medoid: Doubles = tried[typical.sum(axis=0).round(9).argmax()]
    return medoid


def _padded(rows: Doubles) -> Doubles:
    """`rows` and a row of zeros, which -1 selects."""
    return np.concatenate([rows, np.zeros((1, rows.shape[1]))])


def _aligned_to(prototype: Doubles, rows: Doubles, table: Slots, order: StepOrder) -> Slots:
    """The slot of each step, [S]; `table` [G, J] holds the rows of the steps."""
    similarities = _padded(rows @ prototype.T)
    together = max(1, AT_ONCE // ((table.shape[1] + 1) * (len(prototype) + 1)))
    parts = [
        monotonic_matching(similarities[table[start : start + together]])
        for start in range(0, len(table), together)
    ]
    return np.concatenate(parts)[order.member, order.index]


def _means(vectors: StepVectors, slots: Slots, count: int) -> Doubles:
    """The direction of the mean of the steps in each slot, [P, D]."""
    filled = np.bincount(slots[slots >= 0], minlength=count)
    return directed(vectors.sums(slots, count) / np.maximum(filled, 1)[:, None])


def _renumbered(slots: Slots, count: int, min_members: int) -> Slots:
    kept = np.bincount(slots[slots >= 0], minlength=count) >= min_members
    numbers = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # the last is for steps without a slot
    return numbers[slots]
