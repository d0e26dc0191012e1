"""What an atlas measures of a method: on labelled groups, in numbers alone.

Both figures are means over groups of a number in [0, 1], so Wilson's interval for a share holds for them: no such
number varies more than a yes or no does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

_Z = 1.959964
"""The normal's 0.975 quantile."""
LEAST_PAIRED = 30
"""With fewer groups, the difference of two methods has no interval: it would be too narrow."""


@dataclass(frozen=True, slots=True)
class Share:
    """A mean over groups, with its 95% interval; all None if there are no groups.

    Attributes:
        mean: In [0, 1].
        low: Lower end.
        high: Upper end.
        groups: Number of groups.
    """

    mean: float | None
    low: float | None
    high: float | None
    groups: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference between two methods on the same groups.

    Attributes:
        mean: In [-1, 1].
        low: Lower end of its 95% interval; None for fewer than `LEAST_PAIRED` groups.
        high: Upper end.
        p: p-value of no difference.
        p_holm: The same, corrected for the number of methods (Holm 1979).
        groups: Number of groups.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    groups: int


def right_above_wrong(rewards: Doubles, right: Truth) -> float | None:
    """Probability that a right rollout of a group is paid more than a wrong one; a tie counts half.

    Args:
        rewards: [N]; NaN where a rollout has no reward.
        right: [N].

    Returns:
        None if the group lacks paid rollouts of either kind.
    """
    paid = ~np.isnan(rewards)
    above, below = rewards[paid & right][:, None], rewards[paid & ~right][None, :]
    if not above.size or not below.size:
        return None
    return float(((above > below) + 0.5 * (above == below)).mean())


def label_is_true(rewards: Doubles, right: Truth) -> float | None:
    """Share of the best-paid rollouts of a group that are right: whether the method's pseudo-label is true.

    Returns:
        None if no rollout has a reward.
    """
    paid = ~np.isnan(rewards)
    if not paid.any():
        return None
    return float(right[paid & (rewards == rewards[paid].max())].mean())


def share(values: Sequence[float | None]) -> Share:
    """The mean of the groups' known values, each in [0, 1], with Wilson's interval."""
    known = [value for value in values if value is not None]
    count = len(known)
    if not count:
        return Share(None, None, None, 0)
    mean, weight = sum(known) / count, _Z**2 / count
    middle = (mean + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(mean * (1 - mean) / count + weight / (4 * count)) / (1 + weight)
    return Share(mean, min(mean, max(0.0, middle - half)), max(mean, min(1.0, middle + half)), count)


def differences(by_method: Mapping[str, Sequence[float | None]], reference: str) -> dict[str, Difference]:
    """Each method's mean difference to a reference, on the groups for which both have a value."""
    found = {}
    for name, values in by_method.items():
        pairs = zip(values, by_method[reference], strict=True)
        both = np.array([ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None])
        if name != reference and both.size:
            found[name] = _difference(both)
    known = {name: one.p for name, one in found.items() if one.p is not None}
    of_all = dict(zip(known, _holm(list(known.values())), strict=True))
    return {
        name: Difference(one.mean, one.low, one.high, one.p, of_all.get(name), one.groups)
        for name, one in found.items()
    }


def _difference(values: Doubles) -> Difference:
    mean, count = float(values.mean()), len(values)
    if count < LEAST_PAIRED:
        return Difference(mean, None, None, None, None, count)
    error = float(values.std(ddof=1)) / math.sqrt(count)
    if error < 1e-12:  # all are equal
        return Difference(mean, mean, mean, float(abs(mean) < 1e-12), None, count)
    p = math.erfc(abs(mean) / error / math.sqrt(2))
    return Difference(mean, mean - _Z * error, mean + _Z * error, p, None, count)


def _holm(p_values: Sequence[float]) -> list[float]:
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
