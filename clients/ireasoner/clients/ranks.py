"""Scores the rows of all ranks of a distributed training on one of them, without ever leaving a rank waiting."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from ireasoner.clients.errors import RewardError

log = logging.getLogger(__name__)
Row = TypeVar("Row")
Result = TypeVar("Result")

_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""One exchange between the ranks at a time: nothing in a collective says which call it belongs to."""


def over_ranks(
    read: Callable[[], Sequence[Row]], work: Callable[[Sequence[Row]], Sequence[Result]]
) -> Sequence[Result]:
    """Returns the results for this rank's rows: every rank calls `read`, and the first calls `work` on all rows.

    An error on one rank is raised on every rank, because the others would wait for it.
    """
    if _is_alone():
        return work(read())
    parts = _gather(read)
    outcome = _outcome(lambda: work(parts.rows)) if PartialState().is_main_process else None
    return parts.mine(_share(outcome))


async def over_ranks_async(
    read: Callable[[], Sequence[Row]], work: Callable[[Sequence[Row]], Awaitable[Sequence[Result]]]
) -> Sequence[Result]:
    """`over_ranks` on an event loop, which goes on while this rank waits for others.

    Several calls at a time take turns, in the order in which they began, which must be the same on every rank. A call
    that is cancelled on one rank goes on there for the sake of the others.
    """
    if _is_alone():
        return await work(await asyncio.to_thread(read))
    return await asyncio.shield(asyncio.create_task(_in_turn(read, work)))


async def _in_turn(
    read: Callable[[], Sequence[Row]], work: Callable[[Sequence[Row]], Awaitable[Sequence[Result]]]
) -> Sequence[Result]:
    async with _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        parts = await asyncio.to_thread(_gather, read)
        outcome: Any = None
        if PartialState().is_main_process:
            try:
                outcome = await work(parts.rows)
            except BaseException as error:  # noqa: BLE001  every rank raises it
                outcome = _carried(error)
        return parts.mine(await asyncio.to_thread(_share, outcome))


@dataclass(frozen=True, slots=True)
class _Parts(Generic[Row]):
    """The rows of each rank."""

    of_ranks: Sequence[Sequence[Row]]

    @property
    def rows(self) -> list[Row]:
        return [row for part in self.of_ranks for row in part]

    def mine(self, results: Sequence[Result]) -> Sequence[Result]:
        """Those of all results that belong to the rows of this rank."""
        rank = PartialState().process_index
        first = sum(len(part) for part in self.of_ranks[:rank])
        return results[first : first + len(self.of_ranks[rank])]


def _is_alone() -> bool:
    return bool(PartialState().num_processes == 1)


def _gather(read: Callable[[], Sequence[Row]]) -> _Parts[Row]:
    _use_own_device()
    parts = gather_object([_outcome(read)])
    for part in parts:
        if isinstance(part, Exception):
            raise part
    return _Parts(parts)


def _share(outcome: Any) -> Any:
    """The outcome of the first rank, on every rank."""
    _use_own_device()
    shared = [outcome]
    broadcast_object_list(shared)
    if isinstance(shared[0], Exception):
        raise shared[0]
    return shared[0]


def _use_own_device() -> None:
    """In another thread than the main one the current device would be the first one, on every rank."""
    device = PartialState().device
    if device.type != "cpu":
        import torch

        torch.get_device_module(device).set_device(device)


def _outcome(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:  # noqa: BLE001  every rank raises it
        return _carried(error)


def _carried(error: BaseException) -> RewardError:
    """The error in a form that reaches other ranks."""
    if isinstance(error, RewardError):
        return error
    log.error("this batch has no rewards, on any rank", exc_info=error)
    return RewardError(f"{type(error).__name__}: {error}")
