"""Which steps say nothing of their own question: they are as close to other groups' steps."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.scoring_config import ScoringConfig

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

_ROWS = 64  # compared with all of the request at a time, which bounds the memory


def specificity(
    rows: Floats, own: Sequence[slice], group: int, groups: Sequence[slice], config: ScoringConfig
) -> Doubles:
    """t = clip((near - far) / template_margin, 0, 1) of each step of one group, in the order of its rows.

    `rows` [M, D] are the unit embeddings of all compared steps of a request, `groups` says, in order, which belong to
    which group, and `own` which of them to which rollout of the group numbered `group`. `near` is a step's
    cosine to the nearest step of another rollout of its own group. `far` is the median, over the other
    groups, of its cosine to the nearest step there: the median, so that a question that is asked twice in
    a request makes no step of it a template. All is 1 if no other group has steps.
    """
    span = groups[group]
    filled = [number for number, other in enumerate(groups) if other.stop > other.start]
    others = [place for place, number in enumerate(filled) if number != group]
    mine = rows[span]
    if not others or not len(mine):
        return np.ones(len(mine))
    starts = [groups[number].start for number in filled]
    far = np.concatenate(
        [
            np.median(np.maximum.reduceat(mine[at : at + _ROWS] @ rows.T, starts, axis=1)[:, others], axis=1)
            for at in range(0, len(mine), _ROWS)
        ]
    )
    near = np.full(len(mine), -1.0)
    cosines = mine @ mine.T
    for rollout in own:
        inside = slice(rollout.start - span.start, rollout.stop - span.start)
        peers = [
            cosines[inside, peer.start - span.start : peer.stop - span.start].max(axis=1)
            for peer in own
            if peer != rollout and peer.stop > peer.start
        ]
        if peers and rollout.stop > rollout.start:
            near[inside] = np.max(peers, axis=0)
    factors: Doubles = np.clip((near - far) / config.template_margin, 0.0, 1.0)
    return factors
