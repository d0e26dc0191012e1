"""The batcher's counts for `/metrics`."""

from prometheus_client import CollectorRegistry, Counter, Histogram

BATCH_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class BatchingMetrics:
    """Counters and histograms of the cache, the queue and the forward passes, in `registry` if it is given."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._lookups = Counter(
            "reward_cache_lookups", "Texts looked up in the cache.", ["result"], registry=registry
        )
        self._hits, self._misses = self._lookups.labels("hit"), self._lookups.labels("miss")
        self._shared = Counter(
            "reward_shared_cache_lookups",
            "Texts looked up in the cache that replicas share; an unreachable cache counts as a miss.",
            ["result"],
            registry=registry,
        )
        self._wait_s = Histogram(
            "reward_queue_wait_seconds",
            "How long the oldest text of a forward pass had waited.",
            buckets=SECONDS,
            registry=registry,
        )
        self._batch_texts = Histogram(
            "reward_batch_texts", "Texts in a forward pass.", buckets=BATCH_TEXTS, registry=registry
        )
        self._embed_s = Histogram(
            "reward_embed_seconds", "Duration of a forward pass.", buckets=SECONDS, registry=registry
        )
        self._dropped = Counter(
            "reward_texts_dropped",
            "Texts that were dropped from the queue because no caller waited for them any more.",
            registry=registry,
        )
        self._failed = Counter("reward_passes_failed", "Forward passes that failed.", registry=registry)

    def looked_up(self, hits: int, misses: int) -> None:
        """Counts the cache lookups of one call."""
        self._hits.inc(hits)
        self._misses.inc(misses)

    def shared(self, hits: int, misses: int) -> None:
        """Counts the lookups of one forward pass in the cache that replicas share."""
        self._shared.labels("hit").inc(hits)
        self._shared.labels("miss").inc(misses)

    def passed(self, texts: int, seconds: float, waited_s: float) -> None:
        """Counts a forward pass that succeeded."""
        self._batch_texts.observe(texts)
        self._embed_s.observe(seconds)
        self._wait_s.observe(waited_s)

    def dropped(self) -> None:
        """Counts a text that no caller waits for any more."""
        self._dropped.inc()

    def failed(self) -> None:
        """Counts a forward pass that failed."""
        self._failed.inc()
