"""Hands out the groups of each update, and optionally collects the next update's groups during training."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ireasoner.trainer.loop.collected import Collected
from ireasoner.trainer.loop.collector import Collector
from ireasoner.trainer.loop.sampler import Policies


class Prefetch:
    """The groups of one update after the other.

    Args:
        collector: Collects them.
        policies: Returns the names under which the newest adapters are served.
        updates: Number of updates.
        overlap: Whether to collect the next update when one is taken. It is sampled from the adapters that are served
            at that moment, so it is one update behind when it is taken.
    """

    def __init__(
        self,
        collector: Collector,
        policies: Callable[[], Policies],
        updates: int,
        *,
        overlap: bool,
    ) -> None:
        self._collector = collector
        self._policies = policies
        self._updates = updates
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prefetch") if overlap else None
        self._next: tuple[int, Future[Collected]] | None = None

    def take(self, update: int) -> Collected:
        """The groups of update `update`; each update is handed out once.

        Raises:
            TrainerError, RewardError: As `Collector.collect`, also if the update was collected earlier.
        """
        due, self._next = self._next, None
        if due is not None and due[0] == update:
            collected = due[1].result()
        else:
            collected = self._collector.collect(update, self._served())
        if self._thread is not None and update + 1 < self._updates:
            later = self._thread.submit(self._collector.collect, update + 1, self._served())
            self._next = (update + 1, later)
        return collected

    def close(self) -> None:
        """Discards the groups that were collected for an update that will not come."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _served(self) -> Policies:
        return dict(self._policies())
