"""The metrics of several replicas as one page."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def merged(pages: Mapping[str, str]) -> bytes:
    """The pages, by replica, as one in Prometheus' text format; each sample gets the label `replica`."""
    families: dict[str, Metric] = {}
    for replica, page in pages.items():
        for told in text_string_to_metric_families(page):
            family = families.setdefault(told.name, Metric(told.name, told.documentation, told.type))
            family.samples += [
                sample._replace(labels={**sample.labels, "replica": replica}) for sample in told.samples
            ]
    registry = CollectorRegistry()
    registry.register(_Families(families.values()))
    return generate_latest(registry)
