"""The processes of one run, started by a launcher: only the first one talks to servers and writes files.

An error or a signal in the first process is raised in all, so that none waits for it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

T = TypeVar("T")


class Ranks:
    """The processes of this run; a single one without a launcher."""

    def __init__(self) -> None:
        self._shared: BaseException | None = None

    @property
    def count(self) -> int:
        """The number of processes."""
        return int(PartialState().num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this process talks to servers and writes files."""
        return bool(PartialState().is_main_process)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device(PartialState().device)

    def from_first(self, make: Callable[[], T]) -> T:
        """Calls `make` in the first process, and returns its result in all.

        Raises:
            BaseException: What `make` raised in the first process.
        """
        if self.count == 1:
            return make()
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = make()
            except BaseException as error:  # noqa: BLE001  raised below, in every process
                outcome[1] = error
        broadcast_object_list(outcome)
        if outcome[1] is not None:
            self._shared = outcome[1]
            raise outcome[1]
        made: T = outcome[0]
        return made

    def share(self, error: BaseException) -> bool:
        """Whether every process raised `error`, because it came from the first."""
        return self.count == 1 or error is self._shared

    def of_all(self, own: T) -> list[T]:
        """What each process gives, in the order of the processes."""
        if self.count == 1:
            return [own]
        given: list[T] = gather_object([own])
        return given

    def own(self, rows: Sequence[T]) -> list[T]:
        """This process's part of the rows of an update; the parts of all processes, in order, are all rows."""
        size = len(rows) // self.count
        first = int(PartialState().process_index) * size
        return list(rows[first : first + size])

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replaces tensors by their means over the processes, which have as many, of the same shapes."""
        each = list(tensors)
        if self.count == 1 or not each:
            return
        together = torch.cat([tensor.flatten() for tensor in each])
        dist.all_reduce(together)
        together /= self.count
        means = together.split_with_sizes([tensor.numel() for tensor in each])
        for tensor, mean in zip(each, means, strict=True):
            tensor.copy_(mean.view_as(tensor))

    def align(self, tensors: Iterable[torch.Tensor]) -> None:
        """Gives tensors the values that they have in the first process."""
        if self.count > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Returns when every process has called it."""
        PartialState().wait_for_everyone()
