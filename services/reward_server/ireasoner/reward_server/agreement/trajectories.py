"""The step rewards of the rollouts that give one answer, from their steps' embeddings."""

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
    StepOrder,
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
    """The rollouts of a group that give one answer, whose steps are compared with each other.

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


def judge(
    cluster: AnswerCluster, rows: Floats, rho: float, config: ScoringConfig, background: Doubles | None = None
) -> JudgedCluster:
    """r_step_i = rho * fullness_i * (weighted mean of the credits of i's steps); see `step_agreement`.

    `rows` [sum of J_i, D] are the unit embeddings of the cluster's steps, rollout by rollout. `background` [D],
    if given, is subtracted from them.

    A step whose row is zero has no embedding: it is part of no mean, and its rollout cannot be judged.
    """
    exists: Present = np.any(rows, axis=1)
    order = StepOrder.of([len(steps) for steps in cluster.steps], exists)
    vectors = rows.astype(np.float64)
    if background is not None:
        vectors = np.where(exists[:, None], _centred(vectors, background), 0.0)
    if config.alignment == "monotonic":
        slots = slots_by_alignment(vectors, order, config.min_position_members)
    else:
        slots = slots_by_index(order)
    steps = agreement.step_agreement(vectors, order, slots, config)
    fullness: float | Doubles = 1.0
    if config.min_steps:
        fullness = np.array([agreement.fullness(len(set(_folded(each))), config) for each in cluster.steps])
    rewards = rho * fullness * steps.rewards
    rewards[order.member[~exists]] = np.nan
    return JudgedCluster(cluster, steps, rewards)


def background_of(rows: Floats) -> Doubles:
    """The mean [D] of the `rows` [S, D] that have an embedding; 0 if none has."""
    existing = rows[rows.any(axis=1)].astype(np.float64)
    mean: Doubles = existing.mean(axis=0) if len(existing) else np.zeros(rows.shape[1])
    return mean


def distinct(trajectories: Sequence[Steps]) -> int:
    """The number of trajectories that differ in more than case and punctuation."""
    return len({_folded(steps) for steps in trajectories})


def _centred(rows: Doubles, background: Doubles) -> Doubles:
    """e' = directed(e - m): `rows` [S, D] less m [D], the mean of all compared steps.

    Embeddings of sentences on one subject share most of their direction, so any two steps have a high cosine,
    whatever they say. Without the shared part, steps that say the same have a cosine near 1 and others one
    near 0. If all steps are alike, nothing is left of them, and their agreement earns nothing.
    """
    return directed(rows - background)


def _folded(steps: Steps) -> Steps:
    return tuple(" ".join(_WORD.findall(step.casefold())) for step in steps)
