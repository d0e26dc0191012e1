"""`/metrics` stays below 1 MB whatever callers do, and no experiment takes the labels of others."""

import asyncio
import threading

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ireasoner.reward_server.errors import answered_errors
from ireasoner.reward_server.observability import metrics as metrics_module
from ireasoner.reward_server.observability.metrics import MAX_OWN_CONFIGS, MAX_OWN_ROUTES, Metrics

GROUPS = [
    {
        "status": status,
        "tie": True,
        "dominant_share": 0.123456789,
        "entropy_nats": 1.23456789,
        "rollouts": [
            {"status": each, "reward": 0.123456789, "outcome": 0.987654321, "trajectory": 0.5}
            for each in ("ok", "invalid", "abstain")
        ],
    }
    for status in ("ok", "invalid", "abstain")
]
ROUTES = [f"/score/{'r' * 20}{number}" for number in range(14)]
STATUSES = sorted({error.status for error in answered_errors()} | {200, 499})


def name(number: int, length: int = 64) -> str:
    return f"{number}".ljust(length, "n")


def filled(experiments: int, configs: int, length: int) -> Metrics:
    """The metrics after every experiment has done everything, with names of this length."""
    metrics = Metrics()
    for experiment in range(experiments):
        for route in ROUTES:
            for status in STATUSES:
                metrics.answered(route, status, name(experiment, length), 0.123456)
        for config in range(configs):
            metrics.scored(GROUPS, name(experiment, length), name(config, length))
    return metrics


@pytest.mark.parametrize(
    ("experiments", "configs", "length"), [(1, 300, 64), (60, 20, 64), (200, 2, 6), (3, 40, 3)]
)
def test_the_text_stays_below_a_megabyte(experiments: int, configs: int, length: int) -> None:
    shown = asyncio.run(filled(experiments, configs, length).exposition())
    assert len(shown) < 1_000_000
    counted = [line for line in shown.decode().splitlines() if line.startswith("reward_ties_total{")]
    total = sum(float(line.split()[-1]) for line in counted)
    assert total == experiments * configs * len(GROUPS), "what has no label of its own is counted as another"


def test_one_experiment_cannot_take_the_labels_of_others() -> None:
    metrics = filled(1, 300, 64)
    metrics.scored(GROUPS, "other-run", "paper")
    shown = asyncio.run(metrics.exposition()).decode()
    assert 'config="paper",experiment="other-run"' in shown
    own = {
        line.split('config="')[1].split('"')[0] for line in shown.splitlines() if "reward_ties_total{" in line
    }
    assert len(own) == MAX_OWN_CONFIGS + 2  # `other` and `paper`


def test_durations_are_shown_by_experiment() -> None:
    metrics = filled(1, 1, 64)
    for seconds in (0.1, 0.2):
        metrics.answered("/score/solver", 200, "run-7", seconds)
    own = asyncio.run(metrics.exposition("run-7")).decode()
    assert 'reward_request_seconds_count{experiment="run-7",route="/score/solver"} 2.0' in own
    assert f'experiment="{name(0)}"' not in own
    shown = asyncio.run(metrics.exposition()).decode()
    timed = [line for line in shown.splitlines() if line.startswith("reward_request_seconds_count{")]
    assert sum(float(line.split()[-1]) for line in timed) == 2 + len(ROUTES) * len(STATUSES)
    assert sum(f'experiment="{name(0)}"' in line for line in timed) == MAX_OWN_ROUTES
    assert sum('experiment="other"' in line for line in timed) == len(ROUTES) - MAX_OWN_ROUTES


def test_the_build_is_shown_once_it_is_known() -> None:
    metrics = Metrics()
    assert b"reward_build" not in asyncio.run(metrics.exposition())
    metrics.identify(version="2.0.0", embedder="minilm", parser="7")
    for experiment in (None, "run-7"):
        shown = asyncio.run(metrics.exposition(experiment)).decode()
        assert 'reward_build_info{embedder="minilm",parser="7",version="2.0.0"} 1.0' in shown


def test_the_text_is_built_in_a_thread_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loop_thread, builders = threading.get_ident(), []
    running = [0]
    build = generate_latest

    def noted(registry: CollectorRegistry) -> bytes:
        running[0] += 1
        builders.append((threading.get_ident(), running[0]))
        built = build(registry)
        running[0] -= 1
        return built

    monkeypatch.setattr(metrics_module, "generate_latest", noted)

    async def scrape() -> None:
        metrics = filled(2, 2, 10)
        await asyncio.gather(*(metrics.exposition() for _ in range(5)))

    asyncio.run(scrape())
    assert len(builders) == 5
    assert all(thread != loop_thread and at_once == 1 for thread, at_once in builders)
