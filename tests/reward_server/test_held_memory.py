"""Memory is counted before it is taken: by bodies as they arrive, by scoring from counts, and given back after."""

import asyncio
import gc
import json
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from ireasoner.reward_server import wire
from ireasoner.reward_server.embedding.backend import ThreadBackend
from ireasoner.reward_server.embedding.batching import EmbeddingBatcher
from ireasoner.reward_server.errors import Overloaded, RequestTooLarge
from ireasoner.reward_server.memory import Memory
from ireasoner.reward_server.scoring.footprint import UNCOUNTED_BYTES
from ireasoner.reward_server.scoring.pace import LARGE, Pace
from ireasoner.reward_server.scoring.registry import SHARED, ConfigRegistry
from ireasoner.reward_server.scoring.response import written
from ireasoner.reward_server.scoring.scorer import Caller, Scorer
from ireasoner.reward_server.worker_threads import WorkerThreads
from tests.attack.bodies import LONG, ROBUST, Json, apart, as_bytes, groups, mixed, parsed, raw

MIB = 2**20
NUMBERED = "<think>" + "\n".join(f"Step {s}: e{s}" for s in range(1, 65)) + "</think><answer>7</answer>"


JUDGED = {"preset": "judge-bounded", "eta": 0.05}
CROSS = {"preset": "views", "distinct_exponent": 0.5}
VOTERS = {"preset": "co-rewarding"}


def judged(count: int) -> list[Json]:
    """A group whose rollouts have as many signals as can be."""
    signals = {"judge": 0.5, **{f"signal_{number}": number for number in range(15)}}
    return [
        {"id": "g", "rollouts": [{**each, "signals": signals} for each in raw(count, NUMBERED)["rollouts"]]}
    ]


def several_views(several: int, count: int) -> list[Json]:
    """Groups with as many views as can be, in which all answers differ."""
    return [
        {
            "id": str(g),
            "rollouts": [{**each, "view": str(r % 64)} for r, each in enumerate(apart(count)["rollouts"])],
        }
        for g in range(several)
    ]


def voting_for_all(several: int, count: int) -> list[Json]:
    """Small groups that are judged by a large one."""
    small = [{**parsed(2, [], str(g)), "voters": "all"} for g in range(several)]
    return [*small, {**apart(count), "id": "all"}]


class Hashing:
    """An embedder that needs no model; D is that of the default embedder."""

    name = identity = "hashing"
    dimension = 384
    mixes_lengths = False

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return [[hash(text) % 2**31] for text in texts]

    def embed(self, batch: list[list[int]]) -> Any:
        rows = np.stack([np.random.default_rng(ids[0]).normal(size=384) for ids in batch])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def claims_and_peak(body: Json, detail: str) -> tuple[int, int]:
    """The bytes that scoring a request claims, and the bytes that tracemalloc finds it to take at most."""
    request = wire.SolverRequest.model_validate({**body, "detail": detail})

    async def score() -> tuple[int, int]:
        backend = ThreadBackend(Hashing)  # type: ignore[arg-type]
        await backend.start()
        batcher = EmbeddingBatcher(backend, max_queue_texts=20_000, max_batch_tokens=64, cache_bytes=0)
        scorer = Scorer(batcher, ConfigRegistry())
        memory = Memory(10**12)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        with memory.claim() as claim:
            response = written(await scorer.score("solver", request, 1.0, Caller("r", SHARED, claim)))
            held = memory.held_bytes
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert response
        assert memory.held_bytes == 0
        await scorer.stop()
        await batcher.stop()
        await backend.stop()
        return held, peak - before

    return asyncio.run(score())


@pytest.fixture(scope="module", autouse=True)
def what_is_allocated_once() -> None:
    """Scores every kind of text once: compiled patterns and caches are no request's."""
    for body in (groups(parsed(2, ["east " * 2_000])), groups(raw(2, NUMBERED, "0"))):
        claims_and_peak(body, "full")


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("equal steps, aligned", lambda: groups(parsed(256, ["east"] * 64))),
        ("equal steps, by index", lambda: groups(parsed(256, ["east"] * 64), config=LONG)),
        ("different steps, aligned", lambda: groups(mixed(128, 64, 3_000))),
        ("different steps, by index", lambda: groups(mixed(128, 64, 3_000), config=LONG)),
        ("texts", lambda: groups(*(raw(64, NUMBERED, str(g)) for g in range(4)))),
        ("many small groups", lambda: groups(*(parsed(8, ["east", "north"], str(g)) for g in range(100)))),
        ("one rollout", lambda: groups(parsed(1, ["east"]))),
        ("no steps", lambda: groups(parsed(512, []))),
        ("long steps", lambda: groups(parsed(64, ["east " * 2_000]))),
        ("signals and components", lambda: groups(*judged(512), config=JUDGED)),
        ("many views", lambda: groups(*several_views(1, 512), config=CROSS)),
        ("voters", lambda: groups(*voting_for_all(64, 64), config=VOTERS)),
        pytest.param(
            "many views", lambda: groups(*several_views(4, 512), config=CROSS), marks=pytest.mark.slow
        ),
        pytest.param(
            "voters", lambda: groups(*voting_for_all(256, 64), config=VOTERS), marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.parametrize("detail", ["full", "rewards"])
def test_scoring_takes_no_more_than_it_claims(name: str, build: Callable[[], Json], detail: str) -> None:
    body = build()
    held, peak = claims_and_peak(body, detail)
    allowed = held + 5 * len(as_bytes(body)) + UNCOUNTED_BYTES + 4 * MIB
    assert peak < allowed, f"{name}: {peak / MIB:.1f} MiB, claimed {held / MIB:.1f} MiB"


def test_a_usual_group_claims_little_while_it_waits_for_the_embedder() -> None:
    """Some thousand of them are in progress within the default bound."""
    texts = [f"step {number}" for number in range(5)]
    held, _ = claims_and_peak(groups(parsed(8, texts)), "full")
    assert held < 100_000


def test_memory_does_not_grow_with_repeated_steps() -> None:
    """Eight times the steps of equal text: the arrays of vectors stay as they are."""
    few, many = (
        claims_and_peak(groups(parsed(n, ["east"] * 32), config=ROBUST), "rewards") for n in (64, 512)
    )
    vectors = 512 * 32 * 384 * 8
    assert many[1] - few[1] < vectors / 8
    assert many[0] < few[0] + vectors


def test_claims_are_bounded_together_and_alone() -> None:
    memory = Memory(100)
    with memory.claim() as one:
        one.hold(60)
        with memory.claim() as other:
            with pytest.raises(RequestTooLarge, match="101 bytes"):
                other.hold(101)
            with pytest.raises(Overloaded, match="60 bytes and 41"):
                other.hold(41)
            other.hold(40)
            assert memory.held_bytes == 100
        assert memory.held_bytes == 60
    assert memory.held_bytes == 0


@pytest.mark.parametrize("status", [200, 422, 413, 404])
def test_no_request_leaves_held_memory(compass_http: httpx.Client, status: int) -> None:
    route, body = {
        200: ("/score/solver", json.dumps(groups(parsed(4, ["east"])))),
        422: ("/score/solver", '{"groups": [7]}'),
        413: ("/score/solver", json.dumps(groups(parsed(2_000, [])))),
        404: ("/nowhere", "{}"),
    }[status]
    headers = {"content-type": "application/json"}
    assert compass_http.post(route, content=body, headers=headers).status_code == status
    assert "reward_held_bytes 0.0" in compass_http.get("/metrics").text


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_config_has_the_checks_of_a_request(compass_http: httpx.Client, method: str) -> None:
    route = "/configs/wide" if method == "PUT" else "/score/solver"
    content = b'{"groups": [], ' + b",".join(b'"%d": 1' % number for number in range(100)) + b"}"
    refused = compass_http.request(
        method, route, content=content, headers={"content-type": "application/json"}
    )
    assert (refused.status_code, refused.json()["detail"]) == (413, "body: more than 64 fields in one object")
    assert compass_http.put("/configs/large", json={"think_tag": "a" * 70_000}).status_code == 413


@pytest.mark.parametrize("works", [1, 3])
def test_work_that_outlives_its_request_holds_its_memory_until_it_ends(works: int) -> None:
    """Nothing stops a thread when its caller leaves, or the time of its request is up."""
    go, memory = threading.Event(), Memory(100)

    async def leave() -> None:
        threads = WorkerThreads(works, "work")
        with memory.claim() as claim:
            claim.hold(60)
            running = [asyncio.create_task(Pace(threads, claim).run(LARGE, go.wait)) for _ in range(works)]
            await asyncio.sleep(0)
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        assert memory.held_bytes == 60
        go.set()
        while memory.held_bytes:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(leave(), 30))


def test_work_that_has_ended_holds_nothing() -> None:
    memory = Memory(100)

    async def work() -> int:
        with memory.claim() as claim:
            claim.hold(60)
            await Pace(WorkerThreads(1, "work"), claim).run(LARGE, lambda: None)
            assert memory.held_bytes == 60
        return memory.held_bytes

    assert asyncio.run(work()) == 0


def test_work_that_waits_for_a_thread_is_given_up_with_its_request() -> None:
    go, memory, done = threading.Event(), Memory(100), []

    async def leave() -> None:
        threads = WorkerThreads(1, "work")
        first = await threads.begin(go.wait)
        with memory.claim() as claim:
            claim.hold(60)
            waiting = asyncio.create_task(threads.run(lambda: done.append("given up"), claim))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert memory.held_bytes == 0
        go.set()
        await first
        await threads.run(lambda: done.append("next"), claim)

    asyncio.run(asyncio.wait_for(leave(), 30))
    assert done == ["next"]


def test_requests_of_one_kind_leave_room_for_others() -> None:
    whole = Memory(90)
    images = Memory(60, whole=whole)
    with images.claim() as first, images.claim() as second, whole.claim() as other:
        first.hold(50)
        with pytest.raises(Overloaded):
            second.hold(20)
        with pytest.raises(RequestTooLarge):
            second.hold(61)
        other.hold(40)
        with pytest.raises(Overloaded):
            second.hold(5)
        assert (images.held_bytes, whole.held_bytes) == (50, 90)
    assert (images.held_bytes, whole.held_bytes) == (0, 0)
