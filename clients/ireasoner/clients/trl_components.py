"""Parts of a reward as reward functions of their own, which share one request per batch."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from ireasoner.clients.judged import Judged
from ireasoner.clients.shared_batches import SharedBatches

PARTS = ("outcome", "trajectory")
Rewards = list[float | None]
AllJudged = Sequence[Judged | None]
"""What became of each completion; None for a batch that was given up."""


def components(judged: Callable[..., AllJudged], parts: Sequence[str]) -> list[Callable[..., Any]]:
    """One reward function per part of what `judged` returns."""
    shared: SharedBatches[AllJudged] = SharedBatches(len(parts))
    return [Component(judged, part, shared) for part in parts]


def async_components(
    judged: Callable[..., Awaitable[AllJudged]], parts: Sequence[str]
) -> list[Callable[..., Any]]:
    """One asynchronous reward function per part of what `judged` returns."""
    shared: SharedBatches[AllJudged] = SharedBatches(len(parts))
    return [AsyncComponent(judged, part, shared) for part in parts]


class Component:
    """A part of the reward as a reward function."""

    def __init__(self, judged: Callable[..., AllJudged], part: str, shared: SharedBatches[AllJudged]) -> None:
        self.__name__ = f"agreement_{part}"
        self._judged = judged
        self._part = part
        self._shared = shared

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
        """Returns this part for each completion, None where it was not computed."""
        compute = partial(self._judged, prompts, completions, **columns)
        return rewards_of(self._shared.call(completions, compute), self._part)


class AsyncComponent:
    """A part of the reward as an asynchronous reward function."""

    def __init__(
        self, judged: Callable[..., Awaitable[AllJudged]], part: str, shared: SharedBatches[AllJudged]
    ) -> None:
        self.__name__ = f"agreement_{part}"
        self._judged = judged
        self._part = part
        self._shared = shared

    async def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
        """Returns this part for each completion, None where it was not computed."""
        compute = partial(self._judged, prompts, completions, **columns)
        return rewards_of(await self._shared.call_async(completions, compute), self._part)


def rewards_of(judged: AllJudged, part: str | None = None) -> Rewards:
    """The reward of each completion, or a part of it; raises ValueError if no completion has such a part."""
    if part is None:
        return [None if each is None else each.reward for each in judged]
    known = {name for each in judged if each is not None for name in each.parts}
    if known and part not in known and any(each is not None and each.reward is not None for each in judged):
        raise ValueError(f"the reward has no part {part!r}; it has {', '.join(sorted(known))}")
    return [None if each is None else each.parts.get(part) for each in judged]
