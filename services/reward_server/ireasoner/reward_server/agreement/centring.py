"""Step embeddings less what the steps of a group, or of a request, have in common."""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

LEAST_LENGTH = 0.1
"""What is left of a unit row is scaled to length 1 if it is longer than this, else only by its inverse.

Two unit rows as near as that have a cosine of .995: what still tells them apart is mostly noise of the
embedder, and must not be blown up to a direction. Dividing by max(length, LEAST_LENGTH) is continuous.
"""


def directed(vectors: Doubles) -> Doubles:
    """v / max(|v|, LEAST_LENGTH) along the last axis: at most of length 1, and 0 where v is 0."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Doubles = vectors / np.maximum(lengths, LEAST_LENGTH)
    return scaled


def centred(rows: Doubles, background: Doubles) -> Doubles:
    """e' = directed(e - m): `rows` [..., D] less their `background` m [D], the mean of all compared steps.

    Embeddings of sentences on one subject share most of their direction, so that any two steps have a high
    cosine, whatever they say. Without the shared part, steps that say the same have a cosine near 1 and
    steps that do not one near 0. Steps that are all alike are all background: nothing is left of them, and
    agreement on them counts for nothing.
    """
    return directed(rows - background)
