"""The step rewards of rollouts that are compared with each other, from their steps' embeddings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.alignment import (
    Doubles,
    Present,
    Slots,
    StepOrder,
    StepVectors,
    directed,
    slots_by_alignment,
    slots_by_index,
)
from ireasoner.reward_server.agreement.formulas import StepAgreement
from ireasoner.reward_server.scoring_config import ScoringConfig

Floats = NDArray[np.float32]
Steps = tuple[str, ...]

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class AnswerCluster:
    """The rollouts of a group whose steps are compared with each other: those with one answer, or all with any.

    `members` are the rollouts' indices in the group, `steps` the steps of each. They are sorted by the texts of
    their steps, so that no bit of a result depends on the order in which rollouts were sent.
    """

    members: tuple[int, ...]
    steps: tuple[Steps, ...]

    @classmethod
    def of(cls, members: Sequence[int], steps: Sequence[Steps]) -> "AnswerCluster":
        """The cluster of these rollouts; `steps` are theirs, in the same order."""
        order = sorted(range(len(members)), key=lambda number: (steps[number], number))
        return cls(tuple(members[number] for number in order), tuple(steps[number] for number in order))

    @property
    def spans(self) -> list[slice]:
        """The slice of each rollout's steps in a list of all steps, rollout by rollout."""
        return [slice(*ends) for ends in pairwise(accumulate(map(len, self.steps), initial=0))]


@dataclass(frozen=True, slots=True)
class JudgedCluster:
    """A cluster and what its steps earned; `rewards` [G], in [0, 1], is NaN if a rollout cannot be judged."""

    cluster: AnswerCluster
    steps: StepAgreement
    rewards: Doubles


def judge(cluster: AnswerCluster, vectors: StepVectors, rho: float, config: ScoringConfig) -> JudgedCluster:
    """r_step_i = rho * fullness_i * (weighted mean of the credits of i's steps); see `step_agreement`.

    `vectors` are those of the cluster's steps, rollout by rollout; see `vectors_of`.

    A step without an embedding is part of no mean, and its rollout cannot be judged.
    """
    order = StepOrder.of([len(steps) for steps in cluster.steps])
    if config.alignment == "monotonic":
        slots = slots_by_alignment(vectors, order, config.min_position_members)
    else:
        slots = slots_by_index(vectors, order)
    steps = agreement.step_agreement(vectors, order, slots, config)
    fullness: float | Doubles = 1.0
    if config.min_steps:
        of = {each: agreement.fullness(len(set(_folded(each))), config) for each in set(cluster.steps)}
        fullness = np.array([of[each] for each in cluster.steps])
    rewards = rho * fullness * steps.rewards
    rewards[order.member[~vectors.exists]] = np.nan
    return JudgedCluster(cluster, steps, rewards)


def vectors_of(rows: Floats, row: Slots, config: ScoringConfig) -> StepVectors:
    """The vectors of a group's S compared steps: their unit embeddings, with `centring` group e' = directed(e - m).

    Embeddings of sentences on one subject share most of their direction, so any two steps have a high cosine,
    whatever they say. Without the shared part m, the mean of all compared steps, steps that say the same have a
    cosine near 1 and others one near 0. If all steps are alike, nothing is left of them, and their agreement earns
    nothing.

    `rows` [U, D] are embeddings of distinct steps, 0 for a step that has none, and `row` [S] is the row of each step.
    """
    present: Present = np.any(rows, axis=1)
    vectors = rows.astype(np.float64)
    if config.centring == "group":
        times = np.bincount(row, minlength=len(rows)) * present
        vectors -= times.astype(np.float64) @ vectors / max(int(times.sum()), 1)
        vectors = directed(vectors)
        vectors[~present] = 0.0
    return StepVectors(vectors, row, present)


def folded(trajectories: Sequence[Steps]) -> list[Steps]:
    """Each trajectory without case and punctuation: those that differ in nothing else count as copies."""
    of = {steps: _folded(steps) for steps in set(trajectories)}
    return [of[steps] for steps in trajectories]


def _folded(steps: Steps) -> Steps:
    return tuple(" ".join(_WORD.findall(step.casefold())) for step in steps)
