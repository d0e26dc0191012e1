"""`make bench`: the reward server's speed and memory, each against a baseline.

The server runs on one core, callers on another. Two things that are compared are measured in turns, several times, and
the turn with the median ratio is kept, because machines drift. A short run (`--quick`) only shows that the benchmark
works.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from benchmarks import capacity, formulas, ledger, peers, served, start
from benchmarks.comparison import Comparison, Turns, best_s, compare, read, table, write
from benchmarks.runtimes import (
    OneAtATime,
    Tokens,
    computed,
    flip_rate,
    forward,
    forward_per_s,
    majority_rewards,
    table_of_tokens,
)
from benchmarks.workload import GROUPS, groups
from ireasoner.reward_server.embedding.embedder import Embedder, Runtime
from ireasoner.reward_server.embedding.token_mean import TokenMean
from ireasoner.reward_server.embedding.worker_backend import ALLOCATOR

PRECISIONS: tuple[Runtime, ...] = ("torch-fp32", "openvino-fp32", "torch-bf16", "openvino-bf16")
FLIPS = 0.005
"""Bound on the share of pairs that the default runtime ranks differently from float32."""
GOALS: dict[Runtime, float] = {"openvino-fp32": 3.0, "openvino-bf16": 6.0}
"""Bounds on the speed of the runtimes that are served, against one at a time."""
PARTS = (
    "start",
    "runtimes",
    peers.PART,
    "token-mean",
    "cached",
    "ledger",
    "ledger-pages",
    "formulas",
    "memory",
)
LEDGER = "served with a ledger against without"
P99_IN_FLIGHT = 32
ROLLOUTS = GROUPS * 8
"""Of an update of the explorer's ledger."""
ONE_BY_ONE = 100
MEMORY_IN_FLIGHT = 64


class Bench:
    """One run of the benchmark.

    Args:
        tries: Turns per comparison.
        count: Groups of a request.
        soak_minutes: Minutes of load before the memory is read again.
        ledger_updates: Updates of 64 groups of 8 that the explorer's ledger is filled with.
        pages_ledger: The folder of that ledger, which is filled if it has none; None for a temporary one.
    """

    def __init__(
        self, tries: int, count: int, soak_minutes: float, ledger_updates: int, pages_ledger: Path | None
    ) -> None:
        self._tries = tries
        self._count = count
        self._soak_minutes = soak_minutes
        self._ledger_updates = ledger_updates
        self._pages_ledger = pages_ledger
        self._seeds = iter(range(1_000, 10**9))

    def run(self, parts: Sequence[str]) -> Iterator[Comparison]:
        """Every comparison of the parts, as soon as it is known."""
        each = {
            "start": self._start,
            "runtimes": self._runtimes,
            peers.PART: lambda: peers.measured(self._tries, self._count, self._seeds),
            "token-mean": self._token_mean,
            "cached": self._cached,
            "ledger": self._ledger,
            "ledger-pages": self._ledger_pages,
            "formulas": self._formulas,
            "memory": self._memory,
        }
        for part in parts:
            for comparison in each[part]():
                yield replace(comparison, part=part)

    def _fresh_body(self, count: int) -> bytes:
        """The body of a request with groups that were never sent before."""
        return served.body(groups(next(self._seeds), count))

    def _start(self) -> Iterator[Comparison]:
        starts = start.STARTS if self._tries > 1 else 1
        name = f"from start to ready, median of {starts}"
        yield compare(name, "s", start.median_s(starts), goal=start.GOAL_S, at_most=True)

    def _runtimes(self) -> Iterator[Comparison]:
        sample = groups(1, self._count)
        # Each text once, as the server embeds it, so that repeated texts favour neither side.
        texts = list(dict.fromkeys(step for group in sample for each in group for step in each.steps))
        with served.on_core(served.SERVER_CORE):
            single = OneAtATime()
            embedders = computed(PRECISIONS)
            default = next(runtime for runtime in capacity.DEFAULTS if runtime in embedders)
            tokens = embedders["torch-fp32"].tokenize(texts)
            exact = dict(zip(texts, forward(embedders["torch-fp32"].embed, tokens), strict=True))
            reference = majority_rewards(sample, exact)
            for name, embedder in embedders.items():
                turns = Turns()
                for _ in range(self._tries):
                    turns.add(forward_per_s(embedder.embed, tokens, 1), single.per_s(texts[:ONE_BY_ONE]))
                yield compare(f"{name}: forward pass against one at a time", "steps/s", *turns.median)
                embeddings = dict(zip(texts, forward(embedder.embed, tokens), strict=True))
                rate = flip_rate(reference, majority_rewards(sample, embeddings))
                goal = FLIPS if name == default else None
                yield compare(f"{name}: rank flips against fp32", "of pairs", rate, goal=goal, at_most=True)
        for runtime, goal in GOALS.items():
            if runtime in embedders:
                yield from self._served(
                    runtime,
                    embedders[runtime],
                    tokens,
                    lambda: single.per_s(texts[:ONE_BY_ONE]),
                    goal,
                    is_default=runtime == default,
                )

    def _served(
        self,
        runtime: str,
        embedder: Embedder,
        tokens: Tokens,
        one_at_a_time: Callable[[], float],
        goal: float,
        *,
        is_default: bool,
    ) -> Iterator[Comparison]:
        """Compares the server over HTTP with the forward pass alone of the same runtime, in turns."""
        many, one, single = Turns(), Turns(), Turns()
        with served.server("--runtime", runtime, "--device", "cpu", "--cache-mib", "0") as running:

            def forward_alone() -> float:
                with served.on_core(served.SERVER_CORE):
                    return forward_per_s(embedder.embed, tokens, 1)

            # Warms the server up; the forward pass has seen these texts before.
            served.load(running.url, [self._fresh_body(self._count) for _ in range(self._tries)], 1)
            for _ in range(self._tries):
                before = forward_alone()
                bodies = [self._fresh_body(self._count) for _ in range(2 * capacity.REQUESTS_IN_FLIGHT)]
                served_many = _embedded_per_s(running, bodies, capacity.REQUESTS_IN_FLIGHT)
                between = forward_alone()
                served_one = _embedded_per_s(running, [self._fresh_body(1) for _ in range(self._count)], 8)
                many.add(served_many, (before + between) / 2)
                with served.on_core(served.SERVER_CORE):
                    single.add(served_many, one_at_a_time())
                one.add(served_one, (between + forward_alone()) / 2)
            name = capacity.served(runtime, self._count)
            yield compare(f"{name} forward pass", "steps/s", *many.median, 0.95)
            yield compare(f"{name} one at a time", "steps/s", *single.median, goal)
            yield compare(
                f"{runtime}: served, 1 group, 8 in flight, against forward pass", "steps/s", *one.median, 0.8
            )
            if is_default:
                yield self._tail(running)
                yield self._overhead(running, many.median[0])

    def _tail(self, running: served.Server) -> Comparison:
        """The p99 latency against the time of the 32 requests ahead, at the throughput of the same run."""
        bodies = [self._fresh_body(1) for _ in range(3 * P99_IN_FLIGHT)]
        total_s, latencies_s = served.load(running.url, bodies, P99_IN_FLIGHT)
        wait_s = P99_IN_FLIGHT * total_s / len(bodies)
        p99_s = float(np.quantile(latencies_s, 0.99))
        name = f"p99 at {P99_IN_FLIGHT} in flight against the wait in the queue"
        return compare(name, "s", p99_s, wait_s, 1.5, at_most=True)

    def _overhead(self, running: served.Server, steps_per_s: float) -> Comparison:
        """HTTP and JSON alone, with the same bytes in a request that is refused, against embedding them."""
        sent = self._fresh_body(self._count)
        before = running.embedded()
        served.load(running.url, [sent], 1)
        uncached_s = (running.embedded() - before) / steps_per_s
        transport_s = best_s(lambda: _exchange_and_codec(running.url, sent), max(3, self._tries))
        return compare(
            "HTTP and JSON against an uncached request", "s", transport_s, uncached_s, 0.01, at_most=True
        )

    def _token_mean(self) -> Iterator[Comparison]:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = table_of_tokens(Path(folder))
            embedder = TokenMean(checkpoint)
            tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
            texts = [step for group in groups(2, GROUPS) for each in group for step in each.steps]
            flags = (
                "--embedder",
                "token-mean",
                "--token-mean-checkpoint",
                str(checkpoint),
                "--cache-mib",
                "0",
            )
            answered, embedded, single = Turns(), Turns(), Turns()
            with served.server(*flags) as running:
                for _ in range(self._tries):
                    with served.on_core(served.SERVER_CORE):
                        batched = len(texts) / best_s(lambda: _encode(tokenizer, texts), 3)
                        one_by_one = 300 / best_s(lambda: _one_by_one(embedder, texts[:300]), 1)
                    seeds = [next(self._seeds) for _ in range(6)]
                    sent = sum(len(each.steps) for seed in seeds for group in groups(seed) for each in group)
                    before = running.embedded()
                    seconds, _ = served.load(running.url, [served.body(groups(seed)) for seed in seeds], 2)
                    ours = (running.embedded() - before) / seconds
                    answered.add(sent / seconds, batched)
                    embedded.add(ours, batched)
                    single.add(ours, one_by_one)
            name = "token-mean: served, steps"
            yield compare(f"{name} answered, against the tokenizer's batches", "steps/s", *answered.median)
            yield compare(
                f"{name} embedded, against the tokenizer's batches", "steps/s", *embedded.median, 0.8
            )
            yield compare(f"{name} embedded, against one at a time", "steps/s", *single.median)

    def _cached(self) -> Iterator[Comparison]:
        with served.server("--device", "cpu", "--cache-mib", "1024") as running:
            for detail in ("full", "rewards"):
                sent = served.body(groups(3, GROUPS), detail)
                served.load(running.url, [sent], 1)
                sizes = len(groups(3, GROUPS)) * 8
                best = min(served.load(running.url, [sent] * 10, 2)[0] for _ in range(max(3, self._tries)))
                goal = 20_000.0 if detail == "full" else None
                yield compare(
                    f"all embeddings cached, detail {detail}", "trajectories/s", 10 * sizes / best, goal=goal
                )

    def _ledger(self) -> Iterator[Comparison]:
        """The same requests to a server with a ledger and to one without, in turns, each first as often."""
        flags = ("--device", "cpu", "--cache-mib")
        with tempfile.TemporaryDirectory() as folder:
            recorded = Turns()
            with (
                served.server(*flags, "0", "--ledger", folder) as with_ledger,
                served.server(*flags, "0") as without,
            ):
                for turn in range(8 * self._tries + 1):
                    bodies = [self._fresh_body(max(1, self._count // 16)) for _ in range(2)]
                    recorded.add(
                        *_of_a_turn(
                            turn, with_ledger, without, partial(_embedded_per_s, bodies=bodies, in_flight=2)
                        )
                    )
            yield compare(f"{LEDGER}, nothing cached", "steps/s", *recorded.median, 0.98)
        for detail in ("full", "rewards"):
            sent = served.body(groups(3, self._count), detail)
            with tempfile.TemporaryDirectory() as folder:
                plain = Turns()
                with (
                    served.server(*flags, "1024", "--ledger", folder) as with_ledger,
                    served.server(*flags, "1024") as without,
                ):
                    for running in (with_ledger, without):
                        served.load(running.url, [sent], 1)
                    rate = partial(_trajectories_per_s, bodies=[sent] * 4, count=4 * 8 * self._count)
                    for turn in range(14 * self._tries + 1):
                        plain.add(*_of_a_turn(turn, with_ledger, without, rate))
                name = f"{LEDGER}, all embeddings cached, detail {detail}"
                yield compare(name, "trajectories/s", *plain.median, 0.9)

    def _ledger_pages(self) -> Iterator[Comparison]:
        """Every page of the explorer over a large ledger, while other groups are scored: the medians."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = self._pages_ledger or Path(scratch) / "ledger"
            for each in ledger.measured(folder, self._ledger_updates):
                name = f"explorer, {ROLLOUTS * self._ledger_updates:,} rollouts: {each.name}"
                yield compare(name, "ms", each.median_ms, goal=ledger.GOAL_MS, at_most=True)

    def _formulas(self) -> Iterator[Comparison]:
        with served.on_core(served.SERVER_CORE):
            took_s = min(formulas.seconds() for _ in range(self._tries))
        name = f"{len(formulas.FORMULAS)} distinct formulas in one group"
        yield compare(name, "s", took_s, goal=2.0, at_most=True)

    def _memory(self) -> Iterator[Comparison]:
        with served.server("--device", "cpu") as running:
            idle = running.rss_mib()
            with served.Peak(running) as peak:
                self._post_fresh(running, 3 * MEMORY_IN_FLIGHT)
            yield compare(f"peak memory, {MEMORY_IN_FLIGHT} in flight, against idle", "MiB", peak.mib, idle)
            if self._soak_minutes:
                end_s = time.monotonic() + 60 * self._soak_minutes
                while time.monotonic() < end_s:
                    self._post_fresh(running, MEMORY_IN_FLIGHT)
                name = f"memory after {self._soak_minutes:g} minutes against peak"
                yield compare(name, "MiB", running.rss_mib(), peak.mib)

    def _post_fresh(self, running: served.Server, count: int) -> None:
        bodies = [self._fresh_body(1) for _ in range(count)]
        asyncio.run(served.post_all(running.url, bodies, MEMORY_IN_FLIGHT))


def _of_a_turn(
    turn: int, with_ledger: served.Server, without: served.Server, speed: Callable[[served.Server], float]
) -> tuple[float, float]:
    """The speeds of both; each is measured first in every other turn, and never while the ledger is written."""
    speeds = {}
    for running in (with_ledger, without) if turn % 2 else (without, with_ledger):
        with_ledger.wait_until_recorded()
        speeds[running] = speed(running)
    return speeds[with_ledger], speeds[without]


def _trajectories_per_s(running: served.Server, bodies: list[bytes], count: int) -> float:
    return count / served.load(running.url, bodies, 2)[0]


def _embedded_per_s(running: served.Server, bodies: list[bytes], in_flight: int) -> float:
    before = running.embedded()
    seconds, _ = served.load(running.url, bodies, in_flight)
    return (running.embedded() - before) / seconds


def _encode(tokenizer: Tokenizer, texts: list[str]) -> None:
    tokenizer.encode_batch(texts, add_special_tokens=False)


def _one_by_one(embedder: Embedder, texts: list[str]) -> None:
    for text in texts:
        embedder.embed(embedder.tokenize([text]))


def _exchange_and_codec(url: str, sent: bytes) -> None:
    """Sends the bytes over HTTP, and reads and writes JSON of that size as the server does."""
    import httpx

    from ireasoner.reward_server import wire
    from ireasoner.reward_server.scoring.response import written

    refused = httpx.post(f"{url}/score/solver?", content=sent[:-1], headers=served.JSON)
    assert refused.status_code == 422, refused.text
    read = wire.SolverRequest.model_validate_json(sent)
    written(read.model_dump())


def main() -> int:
    """Runs the benchmark; returns 0, whether the goals are reached or not, which the table shows."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few groups and one turn: only shows that it works"
    )
    parser.add_argument(
        "--soak-minutes",
        type=float,
        default=10.0,
        help="minutes of load before the memory is read again [%(default)s]",
    )
    parser.add_argument(
        "--output", type=Path, default=capacity.LATEST, help="file of the results [%(default)s]"
    )
    parser.add_argument(
        "--pages-ledger",
        type=Path,
        help="folder of a ledger of 1,000 updates for ledger-pages, filled if it has none [a temporary one]",
    )
    parser.add_argument(
        "--only",
        choices=PARTS,
        nargs="+",
        help="measure only these parts, and keep the other results of the file",
    )
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not ALLOCATOR.keys() <= os.environ.keys():
        # Baselines get the server's allocator; glibc reads its variables at the start of a process.
        again = [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
        os.execve(sys.executable, again, {**ALLOCATOR, **os.environ})
    if options.quick:
        bench = Bench(1, 8, 0.0, ledger.QUICK_UPDATES, None)
    else:
        bench = Bench(3, GROUPS, options.soak_minutes, ledger.UPDATES, options.pages_ledger)
    comparisons = []
    for each in bench.run(options.only or PARTS):
        comparisons.append(each)
        print(f"{each.name}: {each.ours:.4g} {each.unit}", file=sys.stderr, flush=True)
    if options.only and options.output.exists():
        comparisons = [each for each in read(options.output) if each.part not in options.only] + comparisons
    print(table(comparisons))
    write(comparisons, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
