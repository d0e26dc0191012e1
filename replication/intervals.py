"""Means with 95% bootstrap intervals over seeds and questions, and differences of rows that are paired on both."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

_BOOTSTRAPS = 4000

Values = npt.NDArray[np.float64]
"""(S, Q): one value for each seed and question; Q is 1 for what is known of a run as a whole."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the ends of its 95% percentile bootstrap interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """The interval as JSON holds it, to four places."""
        return {name: round(getattr(self, name), 4) for name in self.__slots__}


def interval(values: Any) -> Interval:
    """The mean of `values` (S, Q), with seeds and questions both drawn anew, independently, with repetition.

    All seeds answer the same questions, so a draw of questions holds for every seed that is drawn. The difference of
    two rows, value by value, is paired in this way on seeds and questions. Of very few seeds the interval is too
    narrow.
    """
    array: Values = np.asarray(values, dtype=np.float64)
    of_seeds, of_questions = _weights(*array.shape)
    means = ((of_seeds @ array) * of_questions).sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(array.mean()), float(low), float(high))


@cache
def _weights(seeds: int, questions: int) -> tuple[Values, Values]:
    """(B, S) and (B, Q): the share of each seed, and of each question, in each draw of as many."""
    rng = np.random.default_rng(0)
    of_seeds, of_questions = (
        rng.multinomial(count, np.full(count, 1 / count), size=_BOOTSTRAPS) / count
        for count in (seeds, questions)
    )
    return of_seeds, of_questions
