"""What `/metrics` exposes: counts of requests, rollouts and groups, and the distributions of rewards.

Labels have few values: routes are templates, and experiments and configs beyond a share are `other`. So the text stays
below 1 MB whatever callers do.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ireasoner.reward_server.observability.batching_metrics import SECONDS, BatchingMetrics
from ireasoner.reward_server.observability.label_sets import OTHER, LabelSets
from ireasoner.reward_server.observability.ledger_metrics import Ledger, LedgerMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHARES = tuple(step / 10 for step in range(11))
ENTROPIES_NATS = tuple(step / 4 for step in range(13))

SCORED_LINES = 80
"""Lines of an experiment and a config: 3 + 3 statuses, ties, and five distributions."""
SCORED_BYTES = 600_000
ANSWERED_BYTES = 150_000
TIMED_LINES = len(SECONDS) + 3
"""Lines of an experiment's durations on a route: the buckets, `+Inf`, count and sum."""
TIMED_BYTES = 150_000
MAX_OWN_CONFIGS = 8
"""Configs of one experiment, with and without overrides, that have labels of their own."""
MAX_OWN_ANSWERS = 64
"""Pairs of a route and a status of one experiment that have labels of their own."""
MAX_OWN_ROUTES = 8
"""Routes of one experiment whose durations have labels of their own."""


@dataclass(slots=True)
class CohortCounts:
    """Totals of the cohorts since the start. A cohort that failed was full or partial before."""

    full: int = 0
    partial: int = 0
    failed: int = 0
    returned: int = 0
    refused: int = 0


class _Distribution(Collector):
    """A histogram that observes many values at once; prometheus_client's own takes one at a time."""

    def __init__(
        self,
        name: str,
        text: str,
        buckets: Sequence[float],
        labels: Sequence[str],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._text, self._labels = name, text, tuple(labels)
        self._edges = np.array(buckets)
        self._observed: dict[tuple[str, ...], tuple[list[int], float]] = {}
        registry.register(self)

    def observe(self, labels: tuple[str, ...], values: Sequence[float]) -> None:
        """Counts each value in the first bucket whose edge is not below it."""
        buckets = np.searchsorted(self._edges, values, side="left")
        counts = np.bincount(buckets, minlength=len(self._edges) + 1).tolist()
        known, total = self._observed.get(labels, ([0] * len(counts), 0.0))
        summed = [a + b for a, b in zip(known, counts, strict=True)]
        self._observed[labels] = (summed, total + float(sum(values)))

    def collect(self) -> Iterable[Metric]:
        """The histogram, with cumulative buckets."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*map(str, self._edges.tolist()), "+Inf"]
        for labels, (counts, total) in list(self._observed.items()):
            below = np.cumsum(counts).tolist()
            family.add_metric(labels, list(zip(names, below, strict=True)), total)
        yield family


class _Queue(Protocol):
    @property
    def queued_texts(self) -> int: ...


class _Worker(Protocol):
    @property
    def fault(self) -> str | None: ...

    @property
    def restarts(self) -> int: ...


class _Cohorts(Protocol):
    @property
    def half_full(self) -> int: ...

    @property
    def callers(self) -> int: ...

    @property
    def kept(self) -> int: ...

    @property
    def counts(self) -> CohortCounts: ...


class _Memory(Protocol):
    held_bytes: int


class Metrics(Collector):
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.batching = BatchingMetrics(registry)
        self._requests = Counter(
            "reward_requests",
            "Requests by route, status and experiment.",
            ["route", "code", "experiment"],
            registry=registry,
        )
        self._seconds = Histogram(
            "reward_request_seconds",
            "Time from a request's arrival to its response.",
            ["route", "experiment"],
            buckets=SECONDS,
            registry=registry,
        )
        per_config = ("experiment", "config")
        self._rollouts = Counter(
            "reward_rollouts", "Rollouts by status.", [*per_config, "status"], registry=registry
        )
        self._groups = Counter(
            "reward_groups", "Groups by status.", [*per_config, "status"], registry=registry
        )
        self._ties = Counter(
            "reward_ties", "Groups whose dominant answer is tied.", per_config, registry=registry
        )
        self._entropy = _Distribution(
            "reward_entropy_nats", "Entropy of the answers of a group.", ENTROPIES_NATS, per_config, registry
        )
        self._share = _Distribution(
            "reward_dominant_share", "Share of the dominant answer.", SHARES, per_config, registry
        )
        self._rewards = _Distribution(
            "reward_component",
            "Rewards of rollouts, by component.",
            SHARES,
            [*per_config, "component"],
            registry,
        )
        self._queue: _Queue | None = None
        self._worker: _Worker | None = None
        self._cohorts: _Cohorts | None = None
        self._memory: _Memory | None = None
        self._scored = LabelSets(SCORED_LINES, SCORED_BYTES, MAX_OWN_CONFIGS)
        self._answered = LabelSets(1, ANSWERED_BYTES, MAX_OWN_ANSWERS)
        self._timed = LabelSets(TIMED_LINES, TIMED_BYTES, MAX_OWN_ROUTES)
        self._build: dict[str, str] | None = None
        self._exposing = asyncio.Lock()
        registry.register(self)

    def watch(self, queue: _Queue, worker: _Worker) -> None:
        """Has the gauges show the state of a queue and of an embedder."""
        self._queue, self._worker = queue, worker

    def watch_cohorts(self, cohorts: _Cohorts) -> None:
        """Has the gauges show the state of the cohorts."""
        self._cohorts = cohorts

    def watch_memory(self, memory: _Memory) -> None:
        """Has a gauge show the memory that requests hold."""
        self._memory = memory

    def watch_ledger(self, ledger: Ledger) -> None:
        """Has gauges and counters show the state of the ledger."""
        self._registry.register(LedgerMetrics(ledger))

    def identify(self, **build: str) -> None:
        """Has `reward_build_info` show the server's version, and the parts of its fingerprints besides the config."""
        self._build = build

    def watch_audits(self, audits: Collector) -> None:
        """Has gauges show the audits of a ledger's runs."""
        self._registry.register(audits)

    def answered(self, route: str, code: int, experiment: str, seconds: float) -> None:
        """Counts a request that was answered; `route` is a template such as `/configs/{name}`, not a path."""
        known = self._answered.admits(experiment, route, str(code))
        self._requests.labels(route, str(code), experiment if known else OTHER).inc()
        known = self._timed.admits(experiment, route)
        self._seconds.labels(route, experiment if known else OTHER).observe(seconds)

    def scored(self, groups: Sequence[Mapping[str, Any]], experiment: str, config: str) -> None:
        """Counts the groups of a response, their rollouts and their rewards."""
        labels = self._labels(experiment, config)
        statuses: dict[str, int] = {}
        values: dict[str, list[float]] = {"reward": [], "outcome": [], "trajectory": []}
        for group in groups:
            for rollout in group.get("rollouts", ()):
                statuses[rollout["status"]] = statuses.get(rollout["status"], 0) + 1
                for component, found in values.items():
                    if (value := rollout[component]) is not None:
                        found.append(value)
        for status, count in statuses.items():
            self._rollouts.labels(*labels, status).inc(count)
        for group_status in {group["status"] for group in groups}:
            count = sum(group["status"] == group_status for group in groups)
            self._groups.labels(*labels, group_status).inc(count)
        self._ties.labels(*labels).inc(sum(group["tie"] for group in groups))
        self._share.observe(labels, [group["dominant_share"] for group in groups])
        self._entropy.observe(labels, [g["entropy_nats"] for g in groups if g["entropy_nats"] is not None])
        for component, found in values.items():
            self._rewards.observe((*labels, component), found)

    def _labels(self, experiment: str, config: str) -> tuple[str, str]:
        """The labels of an experiment's scores with a config."""
        for labels in ((experiment, config), (experiment, OTHER)):
            if self._scored.admits(*labels):
                return labels
        return OTHER, OTHER

    def collect(self) -> Iterable[Metric]:
        """The gauges, read at each scrape."""
        if self._build is not None:
            yield InfoMetricFamily(
                "reward_build", "The version, and what fingerprints depend on.", self._build
            )
        queued = self._queue.queued_texts if self._queue else 0
        yield GaugeMetricFamily(
            "reward_queue_texts", "Distinct texts that wait or are being embedded.", queued
        )
        is_up = self._worker is not None and self._worker.fault is None
        yield GaugeMetricFamily("reward_embedder_up", "1 if texts can be embedded.", float(is_up))
        restarts = self._worker.restarts if self._worker else 0
        yield GaugeMetricFamily("reward_worker_restarts", "Restarts of the embedding worker.", restarts)

        held = self._memory.held_bytes if self._memory else 0
        yield GaugeMetricFamily("reward_held_bytes", "Memory that requests in progress hold.", held)
        if self._cohorts is not None:
            yield from _cohort_metrics(self._cohorts)

    async def exposition(self, experiment: str | None = None) -> bytes:
        """The metrics in Prometheus' text format, built in a thread, one text at a time.

        With an `experiment`, series of other experiments are left out.
        """
        async with self._exposing:
            return await asyncio.to_thread(generate_latest, _Visible(self._registry, experiment))


class _Visible(Collector):
    """The metrics that an experiment may see; all if it is None."""

    def __init__(self, registry: CollectorRegistry, experiment: str | None) -> None:
        self._registry = registry
        self._experiment = experiment

    def collect(self) -> Iterable[Metric]:
        """The families, without the time at which each series began, which doubles the text of a counter."""
        for family in self._registry.collect():
            family.samples = [
                sample
                for sample in family.samples
                if not sample.name.endswith("_created")
                and self._experiment in (None, sample.labels.get("experiment", self._experiment))
            ]
            yield family


def _cohort_metrics(cohorts: _Cohorts) -> Iterable[Metric]:
    half_full, callers, counts = cohorts.half_full, cohorts.callers, cohorts.counts
    yield GaugeMetricFamily("reward_cohorts_half_full", "Cohorts that wait for more rollouts.", half_full)
    yield GaugeMetricFamily("reward_cohort_kept", "Rollouts that are kept for retries.", cohorts.kept)
    yield GaugeMetricFamily("reward_cohort_callers", "Callers that wait for their cohorts.", callers)
    ended = CounterMetricFamily("reward_cohorts", "Cohorts by how they ended.", labels=["how"])
    for how in ("full", "partial", "failed"):
        ended.add_metric([how], getattr(counts, how))
    yield ended
    yield CounterMetricFamily(
        "reward_cohort_returns",
        "Retries that took the slot of the call that they repeat.",
        counts.returned,
    )
    yield CounterMetricFamily(
        "reward_cohort_refusals", "Callers that were refused because too many waited already.", counts.refused
    )
