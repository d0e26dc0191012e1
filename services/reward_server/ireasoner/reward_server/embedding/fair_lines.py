"""Texts that wait for one stage of the embedding, in a line per caller."""

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from ireasoner.reward_server.fair_shares import FairShares


class Waiting(Protocol):
    """An item, and the callers that wait for it."""

    @property
    def callers(self) -> Collection[Hashable]: ...


Item = TypeVar("Item", bound=Waiting)
Kind = Callable[[Item], int]


class FairLines(Generic[Item]):
    """Items in a line per caller; callers take turns by `FairShares`. An item is in the line of each of its callers.

    Args:
        kind: Only items of equal kinds can be taken together.
        cost: What an item adds to a batch, and to what its caller has used.
    """

    def __init__(self, kind: Kind[Item], cost: Kind[Item]) -> None:
        self._kind = kind
        self._cost = cost
        self._lines: dict[Hashable, _Line[Item]] = {}
        self._shares: FairShares[Hashable] = FairShares()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def __len__(self) -> int:
        """The lengths of all lines."""
        return sum(len(line.in_order) for line in self._lines.values())

    def add(self, item: Item, callers: Iterable[Hashable]) -> None:
        """Puts an item at the end of these callers' lines, unless it is there already."""
        kind = self._kind(item)
        for caller in callers:
            if (line := self._lines.get(caller)) is None:
                self._shares.enter(caller)
                line = self._lines[caller] = _Line()
            line.in_order[item] = None
            line.by_kind.setdefault(kind, {})[item] = None

    def remove(self, item: Item, callers: Iterable[Hashable]) -> None:
        """Takes an item out of these callers' lines."""
        kind = self._kind(item)
        for caller in callers:
            line = self._lines[caller]
            same = line.by_kind[kind]
            del line.in_order[item], same[item]
            if not same:
                del line.by_kind[kind]
            if not line.in_order:
                del self._lines[caller]
                self._shares.leave(caller)

    def take(self, most: int, step: int = 1) -> list[Item]:
        """Takes the batch of the caller whose turn it is: its oldest item, and the next ones of the same kind.

        What room it leaves is filled from the other lines, which costs their callers nothing. A batch costs at most
        `most`, but has at least one item; more items than `step` are rounded down to a multiple of it.
        """
        turns = self._shares.turns(self._lines)
        kind = self._kind(next(iter(self._lines[turns[0]].in_order)))
        batch = self._batch(turns, kind, most)
        if len(batch) > step:
            batch = batch[: len(batch) // step * step]
        own = self._lines[turns[0]].in_order
        self._shares.charge(turns[0], sum(self._cost(item) for item in batch if item in own))
        for item in batch:
            self.remove(item, item.callers)
        return batch

    def _batch(self, turns: Iterable[Hashable], kind: int, most: int) -> list[Item]:
        batch: dict[Item, None] = {}
        for caller in turns:
            for item in self._lines[caller].by_kind.get(kind, ()):
                if item in batch:
                    continue
                most -= self._cost(item)
                if batch and most < 0:
                    return list(batch)
                batch[item] = None
        return list(batch)


class _Line(Generic[Item]):
    """A caller's items, in order of arrival and by kind."""

    def __init__(self) -> None:
        self.in_order: dict[Item, None] = {}
        self.by_kind: dict[int, dict[Item, None]] = {}
