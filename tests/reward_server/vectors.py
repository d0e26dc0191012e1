"""Steps whose embeddings have given cosines."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.agreement.trajectories import AnswerCluster, judge, vectors_of
from ireasoner.reward_server.scoring_config import ScoringConfig

Doubles = NDArray[np.float64]
DIMENSION = 32


def axis(number: int) -> Doubles:
    """The unit vector along one axis."""
    vector = np.zeros(DIMENSION)
    vector[number] = 1.0
    return vector


def alike(cosine: float, count: int, shared: int, first_own: int) -> list[Doubles]:
    """`count` unit vectors with pairwise `cosine`, which share the axis `shared`."""
    return [
        np.sqrt(cosine) * axis(shared) + np.sqrt(1 - cosine) * axis(first_own + own) for own in range(count)
    ]


def step_rewards(
    trajectories: list[list[Doubles]], config: ScoringConfig, rho: float = 1.0
) -> NDArray[np.float64]:
    """The step rewards of one answer cluster's trajectories, in the order given; each vector has its own text."""
    texts = [tuple(hashlib.sha256(step.tobytes()).hexdigest() for step in each) for each in trajectories]
    cluster = AnswerCluster.of(range(len(trajectories)), texts)
    ordered = [vector for member in cluster.members for vector in trajectories[member]]
    rows = np.array(ordered, np.float32).reshape(-1, DIMENSION)
    judged = judge(cluster, vectors_of(rows, np.arange(len(rows)), config), rho, config)
    rewards = np.empty(len(trajectories))
    rewards[list(cluster.members)] = judged.rewards
    return rewards
