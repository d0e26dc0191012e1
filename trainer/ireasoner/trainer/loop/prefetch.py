"""The groups of the update that is due, and, where that is wanted, those of the next one while it is trained."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from ireasoner.trainer.loop.collector import Collected, Collector, Policies
from ireasoner.trainer.settings import Role


class Ahead:
    """Hands out the groups of one update after the other.

    Args:
        collector: What collects them.
        policies: The names that the newest adapters are served under now.
        updates: How many updates there are.
        overlap: Whether the update after the one that is handed out is collected meanwhile: from the adapters that
            are served at that moment, so one update behind when its turn comes.
    """

    def __init__(
        self,
        collector: Collector,
        policies: Callable[[], Mapping[Role, str]],
        updates: int,
        *,
        overlap: bool,
    ) -> None:
        self._collector = collector
        self._policies = policies
        self._updates = updates
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead") if overlap else None
        self._next: tuple[int, Future[Collected]] | None = None

    def take(self, update: int) -> Collected:
        """The groups of update number `update`; each update is handed out once.

        Raises:
            TrainerError, RewardError: As `Collector.collect`, also where it was collected meanwhile.
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
        """Gives up what is collected for an update that will not come."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _served(self) -> Policies:
        return dict(self._policies())
