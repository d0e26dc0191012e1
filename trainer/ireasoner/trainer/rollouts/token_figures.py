"""Figures of the distribution that a token was sampled from, by the name of the signal that is their mean.

Each takes log-probabilities, shape (..., words), of every word that can be sampled, as NumPy or torch has them, and
returns one number per distribution, in nats, shape (...).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def entropy(logprobs: Any) -> Any:
    """H(p), in [0, ln V]: RENT pays minus its mean over the tokens (arXiv 2505.22660)."""
    return -(math.e**logprobs * logprobs).sum(-1)


def divergence_from_uniform(logprobs: Any) -> Any:
    """KL(U, p) of the uniform distribution U, at least 0: INTUITOR's self-certainty (arXiv 2505.19590)."""
    return -logprobs.mean(-1) - math.log(logprobs.shape[-1])


TOKEN_FIGURES: dict[str, Callable[[Any], Any]] = {
    "mean_token_entropy": entropy,
    "self_certainty": divergence_from_uniform,
}


def figures_of(rows: Sequence[Sequence[float]], names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The figures `names` of several distributions, each a row of log-probabilities of the same words.

    A rollout without tokens has no row, and so no figure.
    """
    if not rows:
        return dict.fromkeys(names, ())
    logprobs = np.array(rows, dtype=np.float64)
    return {name: tuple(TOKEN_FIGURES[name](logprobs).tolist()) for name in names}
