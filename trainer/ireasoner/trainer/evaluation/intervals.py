"""A mean with its 95% bootstrap interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BOOTSTRAPS = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the ends of its 95% percentile bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def as_dict(self) -> dict[str, float]:
        """The interval as JSON, rounded to four decimals."""
        return {name: round(getattr(self, name), 4) for name in self.__slots__}


def bootstrap(values: Sequence[float], seed: int = 0) -> Interval:
    """The mean of one value per question, with its 95% percentile bootstrap interval over questions.

    The draws depend on `seed` and the number of values alone, so that recorded intervals can be computed again.
    """
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(array), size=(_BOOTSTRAPS, len(array)))
    means = array[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(array.mean()), float(low), float(high))
