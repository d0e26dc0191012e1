"""The processes of one run, which a launcher started: the first one alone talks to servers and writes files.

An error of the first is raised in all, so that none waits for an answer that will not come.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

T = TypeVar("T")


class Ranks:
    """The processes of this run; one alone where no launcher started several."""

    @property
    def count(self) -> int:
        """How many there are."""
        return int(PartialState().num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that talks to servers and writes files."""
        return bool(PartialState().is_main_process)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns in the first process, in all of them; the others do not call it.

        Raises:
            Exception: What `make` raised in the first process, there and in all others.
        """
        if self.count == 1:
            return make()
        outcome: list[Any] = [None, None]
        if self.is_first:
            try:
                outcome[0] = make()
            except Exception as error:  # noqa: BLE001  it is raised below, in every process
                outcome[1] = error
        broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        made: T = outcome[0]
        return made

    def own(self, rows: Sequence[T]) -> list[T]:
        """This process's part of the rows of an update; the processes' parts, in order, are all of them."""
        size = len(rows) // self.count
        first = int(PartialState().process_index) * size
        return list(rows[first : first + size])

    def wait(self) -> None:
        """Returns once every process is here."""
        PartialState().wait_for_everyone()
