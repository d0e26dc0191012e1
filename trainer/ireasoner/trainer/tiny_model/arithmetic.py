"""Addition that is wrong on purpose, so that a warm-started model has something left to learn."""

import numpy as np
import numpy.typing as npt

MAX_OPERAND = 60
"""Largest running sum that the tables know; four digits and their wrong sums stay well below it."""

_BROKEN_RIGHT = 0.30
_BROKEN_FAVOURITE = 0.45
_INTACT_RIGHT = 0.98
_OFFSETS = (-3, -2, -1, 1, 2, 3)


class FaultyAddition:
    """What a pupil says a + b is: a share of the facts are mostly wrong, the others slip now and then.

    A fact is an ordered pair, so that `8 + 3` may be broken where `3 + 8` is intact. A broken fact has one
    wrong result that it mostly gives; a slip is off by at most 3. Orders of the same operands meet different
    facts: a wrong fact spoils some paths to an answer and not others, and the majority over paths knows more
    than one path does.
    """

    def __init__(self, seed: int, broken_share: float = 0.35) -> None:
        rng = np.random.default_rng(seed)
        shape = (MAX_OPERAND + 1, 10)
        self.broken: npt.NDArray[np.bool_] = rng.random(shape) < broken_share
        self._favourite = rng.choice(_OFFSETS, size=shape)

    def add(self, a: int, b: int, rng: np.random.Generator) -> int:
        """One saying of `a + b` (0 <= a <= 60, 0 <= b <= 9), at random; never negative, at most 60."""
        chance = rng.random()
        offset = int(rng.choice(_OFFSETS))
        if self.broken[a, b]:
            if chance < _BROKEN_RIGHT:
                offset = 0
            elif chance < _BROKEN_RIGHT + _BROKEN_FAVOURITE:
                offset = int(self._favourite[a, b])
        elif chance < _INTACT_RIGHT:
            offset = 0
        return min(abs(a + b + offset), MAX_OPERAND)
