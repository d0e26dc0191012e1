"""What the first of several processes does for all of them."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class FirstProcess(Protocol):
    """Calls `make` in the first process, and returns its result, or raises its error, in all."""

    def __call__(self, make: Callable[[], T]) -> T: ...


def only_process(make: Callable[[], T]) -> T:
    """The `FirstProcess` of a run with a single one."""
    return make()
