"""Rollouts that a retry may repeat, kept for a limited time and up to a limited size."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Rollout(Protocol):
    """What is kept: anything with a text."""

    @property
    def text(self) -> str:
        """The rollout's text."""
        ...


M = TypeVar("M", bound=Rollout)


@dataclass(frozen=True, slots=True)
class CohortLimits:
    """Bounds on the callers that wait, and on what is kept for retries.

    Attributes:
        max_callers: Callers that may wait at once, and rollouts that are kept: more than a trainer's whole batch.
        max_characters: Characters of all their texts together, which bounds the memory they take.
    """

    max_callers: int = 65_536
    max_characters: int = 128 * 2**20


class CohortMemory(Generic[M]):
    """Rollouts by key and text, each kept for `keep_s` seconds, or until newer ones exceed the limits."""

    def __init__(self, keep_s: float, limits: CohortLimits) -> None:
        self._keep_s = keep_s
        self._limits = limits
        self._until_s: OrderedDict[M, tuple[object, float]] = OrderedDict()
        self._by_text: dict[tuple[object, str], dict[M, None]] = {}
        self._characters = 0

    def __len__(self) -> int:
        return len(self._until_s)

    def add(self, key: object, rollout: M) -> None:
        """Keeps a rollout, or keeps it for longer."""
        self.discard(rollout)
        now_s = time.monotonic()
        self._until_s[rollout] = (key, now_s + self._keep_s)
        self._by_text.setdefault((key, rollout.text), {})[rollout] = None
        self._characters += len(rollout.text)
        self._forget(now_s)

    def take(self, key: object, text: str) -> M | None:
        """Removes and returns the oldest rollout of this key and text; None if there is none."""
        self._forget(time.monotonic())
        found = next(iter(self._by_text.get((key, text), ())), None)
        if found is not None:
            self.discard(found)
        return found

    def discard(self, rollout: M) -> None:
        """Removes a rollout, if it is kept."""
        if rollout not in self._until_s:
            return
        key, _ = self._until_s.pop(rollout)
        self._characters -= len(rollout.text)
        equals = self._by_text[key, rollout.text]
        del equals[rollout]
        if not equals:
            del self._by_text[key, rollout.text]

    def _forget(self, now_s: float) -> None:
        while self._until_s:
            oldest, (_, until_s) = next(iter(self._until_s.items()))
            full = len(self) > self._limits.max_callers or self._characters > self._limits.max_characters
            if until_s > now_s and not full:
                return
            self.discard(oldest)
