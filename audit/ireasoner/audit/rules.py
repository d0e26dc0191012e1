"""When the mean of a figure over a window is a sign, given its mean over the first window."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol


class Rule(Protocol):
    """Compares a window with the first one."""

    is_floor: ClassVar[bool]
    """Whether a mean below the bound is the sign, not one above it."""

    def bound(self, first: float) -> float:
        """The mean beyond which it is a sign."""

    def reason(self, mean: float, first: float) -> str | None:
        """Why the mean is a sign; None if it is none."""


@dataclass(frozen=True, slots=True)
class Below:
    """The mean has fallen below `share` of the first."""

    share: float
    is_floor: ClassVar[bool] = True

    def bound(self, first: float) -> float:
        """See `Rule`."""
        return self.share * first

    def reason(self, mean: float, first: float) -> str | None:
        """See `Rule`."""
        fell = mean < self.bound(first)
        return f"{mean:.3g} is below {self.share} of the first {first:.3g}" if fell else None


@dataclass(frozen=True, slots=True)
class Multiple:
    """The mean has risen above `factor` times the first."""

    factor: float
    is_floor: ClassVar[bool] = False

    def bound(self, first: float) -> float:
        """See `Rule`."""
        return self.factor * first if first > 0 else math.inf

    def reason(self, mean: float, first: float) -> str | None:
        """See `Rule`."""
        rose = mean > self.bound(first)
        return f"{mean:.3g} is above {self.factor} times the first {first:.3g}" if rose else None


@dataclass(frozen=True, slots=True)
class Above:
    """The mean, a share, is above `limit`, and above the first by more than `rise`."""

    limit: float
    rise: float = 0.0
    is_floor: ClassVar[bool] = False

    def bound(self, first: float) -> float:
        """See `Rule`."""
        bound = max(self.limit, first + self.rise)
        return bound if bound < 1 else math.inf

    def reason(self, mean: float, first: float) -> str | None:
        """See `Rule`."""
        is_above = mean > self.bound(first)
        return f"{mean:.2f} is above {self.limit}, and was {first:.2f} at first" if is_above else None
