"""What `/metrics` exposes of the ledger."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class _Status(Protocol):
    @property
    def max_bytes(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def queued_bytes(self) -> int: ...

    @property
    def groups(self) -> int: ...

    @property
    def dropped(self) -> Mapping[str, int]: ...

    @property
    def dropped_images(self) -> int: ...

    @property
    def problem(self) -> str | None: ...


class Ledger(Protocol):
    """A ledger that is being recorded."""

    @property
    def status(self) -> _Status:
        """Its state now."""
        ...


class LedgerMetrics(Collector):
    """The counters and gauges of a ledger, read at each scrape."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        """The families."""
        status = self._ledger.status
        yield CounterMetricFamily("reward_ledger_groups", "Groups recorded in the ledger.", status.groups)
        dropped = CounterMetricFamily(
            "reward_ledger_dropped_groups", "Scored groups that are not in the ledger.", labels=["reason"]
        )
        for reason, count in status.dropped.items():
            dropped.add_metric([reason], count)
        yield dropped
        yield CounterMetricFamily(
            "reward_ledger_dropped_images",
            "Images that were taken and are not in the ledger.",
            status.dropped_images,
        )
        is_up = float(status.problem is None)
        yield GaugeMetricFamily("reward_ledger_up", "1 if the ledger can be written.", is_up)
        yield GaugeMetricFamily(
            "reward_ledger_queue_bytes", "Bytes that wait to be recorded.", status.queued_bytes
        )
        yield GaugeMetricFamily("reward_ledger_bytes", "Size of the ledger, images included.", status.bytes)
        yield GaugeMetricFamily("reward_ledger_max_bytes", "Size that the ledger may have.", status.max_bytes)
