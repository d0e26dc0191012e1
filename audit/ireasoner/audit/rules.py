"""When the mean of a figure over a window is a sign, given its mean over the first window."""

from dataclasses import dataclass
from typing import Protocol


class Rule(Protocol):
    """Compares a window with the first one."""

    def reason(self, mean: float, first: float) -> str | None:
        """Why the mean is a sign; None if it is none."""


@dataclass(frozen=True, slots=True)
class Below:
    """The mean has fallen below `share` of the first."""

    share: float

    def reason(self, mean: float, first: float) -> str | None:
        """See `Rule`."""
        fell = mean < self.share * first
        return f"{mean:.3g} is below {self.share} of the first {first:.3g}" if fell else None


@dataclass(frozen=True, slots=True)
class Multiple:
    """The mean has risen above `factor` times the first."""

    factor: float

    def reason(self, mean: float, first: float) -> str | None:
        """See `Rule`."""
        rose = first > 0 and mean > self.factor * first
        return f"{mean:.3g} is above {self.factor} times the first {first:.3g}" if rose else None


@dataclass(frozen=True, slots=True)
class Above:
    """The mean is above `limit`, and above the first by more than `rise`."""

    limit: float
    rise: float = 0.0

    def reason(self, mean: float, first: float) -> str | None:
        """See `Rule`."""
        is_above = mean > self.limit and mean > first + self.rise
        return f"{mean:.2f} is above {self.limit}, and was {first:.2f} at first" if is_above else None
