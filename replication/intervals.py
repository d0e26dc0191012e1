"""Means with 95% intervals: across runs with other seeds, across the questions of one model, and what was recorded.

Whoever reads an interval wants to know what another run, asked other questions of the same kind, would give. So a run
and a question are both drawn at random, and a mean over S seeds and Q questions has three sources of variance. Each is
estimated from the sums of its rows, columns and cells (Cameron, Gelbach and Miller 2011), and the degrees of freedom
are Satterthwaite's. `replication.coverage` measures how often these intervals hold the truth.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

_BOOTSTRAPS = 4000
_LEVEL = 0.975
_ROUNDING = 1e-12
"""Standard errors below this are those of equal values."""

LEAST_SEEDS = 5
"""With fewer seeds there is no interval: no estimate of how runs differ is good enough."""

Values = npt.NDArray[np.float64]
"""(S, Q): one value for each seed and question; Q is 1 for a figure of a whole run."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, its 95% interval, and the p-value of a mean of 0; None where there are too few seeds for them."""

    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """The estimate as JSON: figures rounded to four decimals, the p-value to four significant digits."""
        ends = {name: _rounded(getattr(self, name)) for name in ("mean", "low", "high")}
        return {**ends, "p": None if self.p is None else float(f"{self.p:.4g}")}


def across_seeds(values: Any, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """The mean of `values` (S, Q) with a t-interval across seeds and questions; none below `LEAST_SEEDS` seeds.

    With one question it is the t-interval over the seeds' values. For a paired difference, pass the difference of two
    arms value by value.

    Args:
        values: (S, Q).
        clusters: (Q,) the cluster of each question; the questions of a cluster are right or wrong together.
    """
    array: Values = np.asarray(values, dtype=np.float64)
    mean = float(array.mean())
    if len(array) < LEAST_SEEDS:
        return Estimate(mean)
    return t_interval(mean, *variance_across(array, clusters))


def across_questions(values: Any, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """The mean of `values` (S, Q) with a t-interval across questions alone: all rows are samples of one model.

    The base model is one model, however often it was sampled: its rows are averaged, and count as one.
    """
    array: Values = np.asarray(values, dtype=np.float64).mean(axis=0, keepdims=True)
    sums = _cluster_sums(array - array.mean(), clusters)[0] / array.size
    return t_interval(float(array.mean()), *_of_sums(sums))


def interval(values: Any) -> Estimate:
    """The mean of `values` (1, Q), one per group, with its 95% percentile bootstrap interval over the groups.

    The draws depend on Q alone, so that recorded intervals can be computed again.
    """
    array: Values = np.asarray(values, dtype=np.float64)
    [row] = array
    low, high = np.quantile(_shares(len(row)) @ row, [1 - _LEVEL, _LEVEL])
    return Estimate(float(row.mean()), float(low), float(high))


def widened(mean: float, low: float | None, high: float | None, seeds: int) -> Estimate:
    """An interval that was recorded as a percentile bootstrap over seeds and questions, made wide enough.

    The bootstrap takes the seeds' variance for (S - 1)/S of what it is, and the normal's quantile for that of t. Here
    all of the recorded variance is taken for the seeds', which errs on the safe side; how often it holds the truth
    was not simulated.
    """
    if low is None or high is None or seeds < LEAST_SEEDS:
        return Estimate(mean)
    error = (high - low) / 2 / special.ndtri(_LEVEL) * np.sqrt(seeds / (seeds - 1))
    return t_interval(mean, float(error**2), seeds - 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number (Holm 1979), in the same order."""
    count = len(p_values)
    corrected = [0.0] * count
    largest = 0.0
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def t_interval(mean: float, variance: float, freedom: float) -> Estimate:
    """A mean with the t-interval of its variance, and the p-value of a true mean of 0."""
    error = float(np.sqrt(variance))
    if error < _ROUNDING:
        return Estimate(mean, mean, mean, float(abs(mean) < _ROUNDING))
    half = error * float(special.stdtrit(freedom, _LEVEL))
    return Estimate(mean, mean - half, mean + half, 2 * float(special.stdtr(freedom, -abs(mean) / error)))


def variance_across(array: Values, clusters: Sequence[Hashable] | None = None) -> tuple[float, float]:
    """Variance of the mean of `array` (S, Q) across seeds and clusters of questions, and its degrees of freedom."""
    cells = _cluster_sums(array - array.mean(), clusters) / array.size
    seeds, groups = cells.shape
    of_seeds, freedom = _of_sums(cells.sum(axis=1))
    if groups == 1:
        return of_seeds, freedom
    of_clusters, _ = _of_sums(cells.sum(axis=0))
    inside = cells - cells.mean(axis=0) - cells.mean(axis=1, keepdims=True) + cells.mean()
    of_cells = float((inside**2).sum()) * seeds * groups / ((seeds - 1) * (groups - 1))
    variance = max(of_seeds + of_clusters - of_cells, of_seeds, of_clusters)
    if variance == 0:
        return 0.0, freedom
    parts = (
        of_seeds**2 / (seeds - 1) + of_clusters**2 / (groups - 1) + of_cells**2 / ((seeds - 1) * (groups - 1))
    )
    return variance, max(variance**2 / parts, 1.0)


def _of_sums(sums: Values) -> tuple[float, float]:
    """Variance of a total from its independent parts, whose deviations from the mean are given; degrees of freedom."""
    count = len(sums)
    return float((sums**2).sum()) * count / (count - 1), count - 1


def _cluster_sums(array: Values, clusters: Sequence[Hashable] | None) -> Values:
    """(S, G): the sum of each cluster's questions."""
    if clusters is None:
        return array
    index = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(array), len(index)))
    for column, cluster in enumerate(clusters):
        sums[:, index[cluster]] += array[:, column]
    return sums


@lru_cache(maxsize=8)
def _shares(count: int) -> Values:
    """(B, count): the share of each of `count` groups in each of B draws."""
    drawn = np.random.default_rng(1).multinomial(count, np.full(count, 1 / count), size=_BOOTSTRAPS)
    shares: Values = drawn / count
    return shares


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
