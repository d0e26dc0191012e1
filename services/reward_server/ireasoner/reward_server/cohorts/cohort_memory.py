"""Rollouts that a retry may repeat, kept for a limited time and up to a limited number."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

KEPT_BYTES = 5_000
"""Memory of a rollout that is kept (tracemalloc counts up to 4,000): answer, key and cohort, without its text."""


class Rollout(Protocol):
    """What is kept: anything that can be recognised, without its text, which may be long."""

    @property
    def identity(self) -> bytes:
        """A hash of the rollout's text."""
        ...


M = TypeVar("M", bound=Rollout)


@dataclass(frozen=True, slots=True)
class CohortLimits:
    """Bounds on the callers that wait, and on what is kept for retries.

    Attributes:
        max_callers: Callers that may wait at once: more than a trainer's whole batch. Their texts count as held memory.
        max_kept: Rollouts that are kept: answered ones, and as many whose callers left. Each takes `KEPT_BYTES`.
    """

    max_callers: int = 65_536
    max_kept: int = 32_768


class CohortMemory(Generic[M]):
    """Rollouts by key and identity, each kept for `keep_s` seconds, or until newer ones exceed `max_kept`."""

    def __init__(self, keep_s: float, max_kept: int) -> None:
        self._keep_s = keep_s
        self._max_kept = max_kept
        self._until_s: OrderedDict[M, tuple[object, float]] = OrderedDict()
        self._known: dict[tuple[object, bytes], dict[M, None]] = {}

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, key: object, rollout: M) -> None:
        """Keeps a rollout, or keeps it for longer."""
        self.discard(rollout)
        self._until_s[rollout] = (key, time.monotonic() + self._keep_s)
        self._known.setdefault((key, rollout.identity), {})[rollout] = None
        self.forget()

    def take(self, key: object, identity: bytes) -> M | None:
        """Removes and returns the oldest rollout of this key and identity; None if there is none."""
        self.forget()
        found = next(iter(self._known.get((key, identity), ())), None)
        if found is not None:
            self.discard(found)
        return found

    def discard(self, rollout: M) -> None:
        """Removes a rollout, if it is kept."""
        if rollout not in self._until_s:
            return
        key, _ = self._until_s.pop(rollout)
        equals = self._known[key, rollout.identity]
        del equals[rollout]
        if not equals:
            del self._known[key, rollout.identity]

    def forget(self) -> None:
        """Removes the rollouts whose time is up, and the oldest if there are too many."""
        now_s = time.monotonic()
        while self._until_s:
            oldest, (_, until_s) = next(iter(self._until_s.items()))
            if until_s > now_s and len(self) <= self._max_kept:
                return
            self.discard(oldest)
