"""Means with 95% bootstrap intervals over seeds and questions, and differences of rows that are paired on both."""

from collections.abc import Hashable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ireasoner.trainer.evaluation.intervals import Interval

_BOOTSTRAPS = 4000

Values = npt.NDArray[np.float64]
"""(S, Q): one value for each seed and question; Q is 1 for what is known of a run as a whole."""


def interval(values: Any, clusters: Sequence[Hashable] | None = None) -> Interval:
    """The mean of `values` (S, Q), with seeds and questions both drawn anew, independently, with repetition.

    All seeds answer the same questions, so a draw of questions holds for every seed that is drawn. The difference of
    two rows, value by value, is paired in this way on seeds and questions. Of very few seeds the interval is too
    narrow.

    Args:
        values: (S, Q).
        clusters: (Q,) what questions have in common that are right or wrong together; those that have the same are
            drawn together. None: each is drawn by itself.
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
    place = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    drawn = _draws(len(place), np.random.default_rng(1))[:, [place[cluster] for cluster in clusters]]
    shares: Values = drawn / drawn.sum(axis=1, keepdims=True)
    return shares


def _draws(count: int, rng: np.random.Generator) -> Values:
    """(B, count): how often each of `count` things comes in each draw of as many."""
    draws: Values = rng.multinomial(count, np.full(count, 1 / count), size=_BOOTSTRAPS).astype(np.float64)
    return draws
