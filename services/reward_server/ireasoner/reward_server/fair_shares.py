"""Whose turn it is at something that callers share and one at a time may use."""

from collections.abc import Container, Hashable
from typing import Generic, TypeVar

Caller = TypeVar("Caller", bound=Hashable)


class FairShares(Generic[Caller]):
    """What each caller has used, in any unit. The next turn belongs to the one who has used the least.

    Among equals it belongs to the one whose last turn, or arrival, was the longest ago, but never twice in a row to the
    same. A caller starts with what the one who has used the least has used: it does not wait for those who came
    earlier, and makes up for no time when it was away. `enter` may say otherwise.
    """

    def __init__(self) -> None:
        self._used: dict[Caller, float] = {}
        self._last: list[Caller] = []

    def enter(self, caller: Caller, used: float | None = None) -> None:
        """Adds a caller, who has used so much; one that is there already keeps what it has used."""
        if caller not in self._used:
            self._used[caller] = min(self._used.values(), default=0.0) if used is None else used

    def leave(self, caller: Caller) -> None:
        """Forgets a caller."""
        self._used.pop(caller, None)

    def charge(self, caller: Caller, amount: float) -> None:
        """Adds to what a caller has used."""
        self._used[caller] += amount

    def turns(self, waiting: Container[Caller]) -> list[Caller]:
        """Begins a turn of the first of the callers that wait; the others follow in the order of their turns."""
        for last in self._last:
            if last in self._used:
                self._used[last] = self._used.pop(last)  # the end of the order
        order = sorted((each for each in self._used if each in waiting), key=self._used.__getitem__)
        self._last = order[:1]
        return order
