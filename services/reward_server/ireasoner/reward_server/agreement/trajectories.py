"""The step rewards of the rollouts that give one answer, from their steps' embeddings."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.agreement import formulas as agreement
from ireasoner.reward_server.agreement.alignment import (
    Present,
    StepOrder,
    places_by_alignment,
    places_by_index,
)
from ireasoner.reward_server.agreement.centring import centred
from ireasoner.reward_server.agreement.formulas import Doubles, StepAgreement
from ireasoner.reward_server.scoring_config import ScoringConfig

Floats = NDArray[np.float32]
Steps = tuple[str, ...]

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Camp:
    """The rollouts of a group that give one answer and are judged together, in an order of their own.

    The order is that of their steps' texts, so that results do not depend on how rollouts were sent, to the
    last bit. `members` are their numbers in the group, `steps` what each says.
    """

    members: tuple[int, ...]
    steps: tuple[Steps, ...]

    @classmethod
    def of(cls, members: Sequence[int], steps: Sequence[Steps]) -> "Camp":
        """The camp of these rollouts, whose steps are `steps`."""
        order = sorted(range(len(members)), key=lambda place: (steps[place], place))
        return cls(tuple(members[place] for place in order), tuple(steps[place] for place in order))

    @property
    def spans(self) -> list[slice]:
        """Where each rollout's steps stand when all of them are written in one row."""
        return [slice(*ends) for ends in pairwise(accumulate(map(len, self.steps), initial=0))]


@dataclass(frozen=True, slots=True)
class JudgedCamp:
    """A camp and what its steps earned; `rewards` [G], in [0, 1], is NaN where a rollout cannot be judged."""

    camp: Camp
    steps: StepAgreement
    rewards: Doubles


def judge(
    camp: Camp,
    rows: Floats,
    rho: float,
    config: ScoringConfig,
    *,
    background: Doubles | None = None,
    specificity: Doubles | None = None,
) -> JudgedCamp:
    """r_step_i = rho * fullness_i * (weighted mean of the credits of i's steps); see `step_agreement`.

    `rows` [sum of J_i, D] are the unit embeddings of all steps of the camp, rollout by rollout; `background`
    [D] is subtracted from them if it is given; `specificity` has a factor in [0, 1] for each row.

    A step whose row is zero has no embedding: it is in no mean, and its rollout cannot be judged.
    """
    exists: Present = np.any(rows, axis=1)
    order = StepOrder.of([len(steps) for steps in camp.steps], exists)
    vectors = rows.astype(np.float64)
    if background is not None:
        vectors = np.where(exists[:, None], centred(vectors, background), 0.0)
    if config.alignment == "monotonic":
        places = places_by_alignment(vectors, order, config.min_position_members)
    else:
        places = places_by_index(order)
    steps = agreement.step_agreement(vectors, order, places, config, specificity)
    fullness: float | Doubles = 1.0
    if config.min_steps:
        fullness = np.array([agreement.fullness(len(set(_folded(each))), config) for each in camp.steps])
    rewards = rho * fullness * steps.rewards
    rewards[order.member[~exists]] = np.nan
    return JudgedCamp(camp, steps, rewards)


def background_of(rows: Floats) -> Doubles:
    """The mean, [D], of the rows of all steps that have an embedding; 0 if there are none."""
    existing = rows[rows.any(axis=1)].astype(np.float64)
    mean: Doubles = existing.mean(axis=0) if len(existing) else np.zeros(rows.shape[1])
    return mean


def distinct(trajectories: Sequence[Steps]) -> int:
    """How many of the trajectories differ in more than case and punctuation."""
    return len({_folded(steps) for steps in trajectories})


def _folded(steps: Steps) -> Steps:
    return tuple(" ".join(_WORD.findall(step.casefold())) for step in steps)
