"""Figures of the distribution that a token was sampled from, by the name of the signal that is their mean.

Each takes log-probabilities, shape (..., words), of every word that can be sampled, as NumPy or torch has them, and
returns one number per distribution, in nats, shape (...).
"""

import math
from collections.abc import Callable
from typing import Any


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
