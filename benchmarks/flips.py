"""How often a precision changes who is better: pairs of majority rollouts whose order changes."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import Sample
from ireasoner.reward_server.agreement.trajectories import AnswerCluster, judge
from ireasoner.reward_server.scoring_config import PAPER

Rows = NDArray[np.float32]


def majority_rewards(groups: Sequence[Sequence[Sample]], rows: dict[str, Rows]) -> list[list[float]]:
    """Trajectory rewards of each group's dominant rollouts, from the rows of their steps."""
    rewards = []
    for group in groups:
        majority = [sample.steps for sample in group if sample.answer == group[0].answer]
        cluster = AnswerCluster.of(range(len(majority)), majority)
        stacked = np.stack([rows[step] for steps in cluster.steps for step in steps])
        rewards.append(judge(cluster, stacked, 1.0, PAPER).rewards.tolist())
    return rewards


def flip_rate(reference: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Share of the pairs within a group that `other` ranks otherwise than `reference`."""
    changed = [
        (first < second) != (other_first < other_second)
        for one, two in zip(reference, other, strict=True)
        for (first, other_first), (second, other_second) in _pairs(one, two)
    ]
    return sum(changed) / len(changed)


def _pairs(
    one: Sequence[float], two: Sequence[float]
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    yield from combinations(zip(one, two, strict=True), 2)
