"""Which steps of a group's rollouts stand in one place: monotonic alignment to a prototype sequence.

G is the number of rollouts, J of steps in the longest, S of all their steps, P of places in the prototype,
D of dimensions, B of pairs that are aligned at once. A place is -1 where a step has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.agreement.centring import directed

Doubles = NDArray[np.float64]
Places = NDArray[np.intp]
Present = NDArray[np.bool_]

REFINEMENTS = 2
"""How often the prototype is replaced by the means of what was aligned to it."""
CANDIDATES = 16
"""Rollouts that are tried as the first prototype, each against as many others: groups can be large."""


@dataclass(frozen=True, slots=True)
class StepOrder:
    """Whose steps, and the how manieth, stand in rows [S] that are written rollout by rollout.

    `member` is the number of a step's rollout, below `members`; `index` its own in that; `exists` tells
    whether it has an embedding. `longest` is the most steps of a rollout.
    """

    member: Places
    index: Places
    exists: Present
    members: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], exists: Present) -> "StepOrder":
        """The order of rollouts of these `lengths` [G]."""
        longest = max(lengths, default=0)
        member, index = np.nonzero(np.arange(longest) < np.array(lengths)[:, None])
        return cls(member, index, exists, len(lengths), longest)

    def sums(self, values: Doubles) -> Doubles:
        """The sum of the `values` [S] of each rollout's steps, [G]."""
        return np.bincount(self.member, values, self.members).astype(
            np.float64
        )  # empty ones would be integers

    def laid_out(self, rows: Doubles) -> Doubles:
        """`rows` [S, D] by rollout and index, [G, J, D]; 0 where there is no step."""
        table = np.zeros((self.members, self.longest, rows.shape[1]))
        table[self.member, self.index] = rows
        return table


def places_by_index(order: StepOrder) -> Places:
    """The j-th step of every rollout has place j; [S]."""
    return np.where(order.exists, order.index, -1)


def places_by_alignment(rows: Doubles, order: StepOrder, min_members: int) -> Places:
    """The place of each of the `rows` [S, D] in the group's prototype sequence, [S]; steps keep their order.

    The first prototype is the medoid: the rollout k that maximises
    sum_i 2 A(i, k) / (J_i + J_k), A(i, k) = max over monotonic matchings M of sum_(j, p) in M of
    max(0, cos(e_ij, e_kp)). All rollouts are aligned to it in the same way, its steps are replaced by the
    means of the steps aligned to them, and so again. Places that fewer than `min_members` rollouts fill are
    then dropped and the rest numbered anew, so that a step that only one rollout has shifts nobody's.

    Rows have length at most 1 and are 0 where they do not exist. Of equally good prototypes the first is
    taken: give rollouts in an order that does not depend on how they were sent.
    """
    if not order.exists.any():
        return np.full(len(rows), -1)
    table = order.laid_out(rows)
    prototype = table[_medoid(table, order.sums(order.exists.astype(np.float64)))]
    places = _aligned_to(prototype, table)
    for _ in range(REFINEMENTS):
        prototype = directed(_means(table, places, len(prototype)))
        places = _aligned_to(prototype, table)
    return _renumbered(places, len(prototype), min_members)[order.member, order.index]


def monotonic_matching(similarities: Doubles) -> Places:
    """The matching of steps to places that maximises the sum of the matched `similarities` [B, J, P].

    Order is kept, each step has at most one place and each place at most one step; what has no similarity
    above 0 is not matched. Needleman and Wunsch's recurrence with free gaps. Gives places, [B, J].
    """
    scores = _scores(similarities)
    pairs, steps, width = similarities.shape
    places = np.full((pairs, steps), -1)
    each = np.arange(pairs)
    column = np.full(pairs, width)
    for step in range(steps - 1, -1, -1):
        # A row's score at a column is reached from the row above or by a match at the first column from
        # which it does not rise any more.
        row, above = scores[:, step + 1], scores[:, step]
        reached = (row == row[each, column][:, None]).argmax(axis=1)
        matched = row[each, reached] > above[each, reached]
        places[:, step] = np.where(matched, reached - 1, -1)
        column = np.where(matched, reached - 1, column)
    return places


def _scores(similarities: Doubles) -> Doubles:
    """Best sums of similarity, [B, J + 1, P + 1], of the first j steps with the first p places."""
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


def _aligned_to(prototype: Doubles, rows: Doubles) -> Places:
    return monotonic_matching(rows @ prototype.T)


def _means(rows: Doubles, places: Places, count: int) -> Doubles:
    filled = (places[:, :, None] == np.arange(count)).astype(np.float64)
    sums = np.einsum("gjp,gjd->pd", filled, rows)
    means: Doubles = sums / np.maximum(filled.sum(axis=(0, 1)), 1.0)[:, None]
    return means


def _renumbered(places: Places, count: int, min_members: int) -> Places:
    kept = (places[:, :, None] == np.arange(count)).sum(axis=(0, 1)) >= min_members
    numbers = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # the last is for steps without a place
    return numbers[places]
