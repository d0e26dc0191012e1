"""Means with 95% bootstrap intervals over seeds and questions, and paired differences between arms."""

from collections.abc import Hashable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ireasoner.trainer.evaluation.intervals import Interval

_BOOTSTRAPS = 4000

Values = npt.NDArray[np.float64]
"""(S, Q): one value for each seed and question; Q is 1 for a figure of a whole run."""


def interval(values: Any, clusters: Sequence[Hashable] | None = None) -> Interval:
    """The mean of `values` (S, Q), with its interval: seeds and questions are resampled independently.

    All seeds answer the same questions, so a draw of questions applies to every drawn seed. For a paired difference,
    pass the difference of two arms value by value. With very few seeds the interval is too narrow.

    Args:
        values: (S, Q).
        clusters: (Q,) the cluster of each question; the questions of a cluster are drawn together, because they tend
            to be right or wrong together. None: each question is drawn alone.
    """
    array: Values = np.asarray(values, dtype=np.float64)
    seeds, questions = array.shape
    of_questions = _question_shares(tuple(range(questions) if clusters is None else clusters))
    means = ((_seed_shares(seeds) @ array) * of_questions).sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(array.mean()), float(low), float(high))


@cache
def _seed_shares(count: int) -> Values:
    """(B, S): the share of each seed in each draw."""
    return _draws(count, np.random.default_rng(0)) / count


@lru_cache(maxsize=8)
def _question_shares(clusters: tuple[Hashable, ...]) -> Values:
    """(B, Q): the share of each question in each draw of clusters."""
    index = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    drawn = _draws(len(index), np.random.default_rng(1))[:, [index[cluster] for cluster in clusters]]
    shares: Values = drawn / drawn.sum(axis=1, keepdims=True)
    return shares


def _draws(count: int, rng: np.random.Generator) -> Values:
    """(B, count): how often each of `count` things is drawn, for each of B draws of `count` things."""
    draws: Values = rng.multinomial(count, np.full(count, 1 / count), size=_BOOTSTRAPS).astype(np.float64)
    return draws
