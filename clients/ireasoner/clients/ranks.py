"""Scores the rows of all ranks of a distributed training on one of them, without ever leaving a rank waiting."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from ireasoner.clients.errors import BadAnswer, RequestRefused, RewardError, ScoringChanged
from ireasoner.clients.reward_service import SplitGroups

log = logging.getLogger(__name__)
Row = TypeVar("Row")
Result = TypeVar("Result")


def over_ranks(
    read: Callable[[], Sequence[Row]], work: Callable[[Sequence[Row]], Sequence[Result]]
) -> Sequence[Result] | None:
    """Returns the results for this rank's rows: every rank calls `read`, and the first calls `work` on all rows.

    An error on one rank is logged there, and every rank gets None, because raising would leave the other ranks
    waiting. Errors that every later batch would meet too (the server refuses the request, answers wrongly or scores in
    another way than before, or groups are incomplete) are raised on every rank. A single process raises any error.
    """
    processes = PartialState()
    if processes.num_processes == 1:
        return work(read())
    rows = _or_none(read)
    parts = gather_object([rows])
    outcome: list[Any] = [None]
    if processes.is_main_process and None not in parts:
        outcome = [_or_none(lambda: work([row for part in parts for row in part]))]
    broadcast_object_list(outcome)
    if isinstance(outcome[0], RewardError):
        raise outcome[0]
    if outcome[0] is None:
        return None
    first = sum(len(part) for part in parts[: processes.process_index])
    results: Sequence[Result] = outcome[0][first : first + len(parts[processes.process_index])]
    return results


def _or_none(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (BadAnswer, RequestRefused, ScoringChanged, SplitGroups) as error:
        return error
    except Exception:
        log.exception("this batch has no rewards, on any rank")
        return None
