"""The app on a local Ray with two replicas: one dies under load, and cohorts survive it."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray
import yaml
from ray import serve
from starlette.requests import Request

from ireasoner.clients import RewardClient
from ireasoner.reward_server.ray_serve import Front, app, cohort_key
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.load import GROUPS
from tests.rollout_server.running import free_port

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.timeout(900),
]  # Ray starts for minutes on a busy machine

ROOT = Path(__file__).resolve().parents[2]
REPLICAS = 2
COHORT = 4


def replicas() -> list[psutil.Process]:
    """The processes of the replicas, which Ray names after their deployment."""
    own = psutil.Process().children(recursive=True)
    return [process for process in own if "ServeReplica:reward:RewardReplica" in _command(process)]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="module")
def served(compass: Path) -> Iterator[str]:
    """Where a local Ray serves the app on two replicas."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        for check in ("READY", "HEALTH"):  # Ray gives its proxy 5 and 10 s, too few on a busy machine
            patch.setenv(f"RAY_SERVE_PROXY_{check}_CHECK_TIMEOUT_S", "60")
        ray.init(
            address="local",
            num_cpus=REPLICAS,
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            log_to_driver=False,
        )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app({"embedder": "token-mean", "token_mean_checkpoint": str(compass)}), name="reward")
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def test_a_replica_that_dies_under_load_loses_no_group(served: str) -> None:
    with RewardClient(served, retry_budget_s=0) as client, ThreadPoolExecutor(16) as pool:
        client.wait_until_ready(60)
        expected = client.score("trajectory", GROUPS).groups
        assert len(replicas()) == REPLICAS
        flying = [pool.submit(client.score, "trajectory", GROUPS) for _ in range(200)]
        _wait_for(flying, 20)
        replicas()[0].kill()
        assert not flying[-1].done()
        scored = [future.result(60).groups for future in flying]
    assert scored == [expected] * len(flying)


def test_cohorts_are_complete_even_if_their_replica_dies(served: str) -> None:
    """Half of each cohort waits when a replica is killed; the other half comes afterwards."""
    _await_replicas()

    def call(cohort: int, member: int) -> dict[str, Any]:
        answer = httpx.post(
            f"{served}/cohort/remote?group_size={COHORT}&deadline_s=60",
            json={
                "prompt": f"question {cohort}",
                "response": f"<think>Step 1: north</think><answer>{member // 2}</answer>",
                "label": None,
            },
            timeout=90,
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    cohorts = range(12)
    with ThreadPoolExecutor(len(cohorts) * COHORT) as pool:
        first = [pool.submit(call, cohort, member) for cohort in cohorts for member in (0, 1)]
        time.sleep(1)
        assert not any(future.done() for future in first)
        replicas()[0].kill()
        time.sleep(1)
        rest = [pool.submit(call, cohort, member) for cohort in cohorts for member in (2, 3)]
        answers = [future.result(90) for future in first + rest]
    assert {(answer["partial"], answer["group_size"]) for answer in answers} == {(0.0, float(COHORT))}


@pytest.mark.slow
def test_metrics_cover_every_replica(served: str) -> None:
    def scored() -> dict[str, float]:
        text = httpx.get(f"{served}/metrics").text
        assert text.count("# TYPE reward_groups_total counter") == 1
        counts: dict[str, float] = dict.fromkeys(re.findall(r'replica="(\w+)"', text), 0.0)
        for line in text.splitlines():
            if line.startswith("reward_groups_total{"):
                counts[re.findall(r'replica="(\w+)"', line)[0]] += float(line.split()[-1])
        return counts

    _await_replicas()
    requests = 40
    with RewardClient(served, retry_budget_s=10) as client, ThreadPoolExecutor(4) as pool:
        client.wait_until_ready(60)
        before = _until(scored, REPLICAS)
        list(pool.map(lambda _: client.score("trajectory", GROUPS), range(requests)))
        after = scored()
    assert set(after) == set(before)
    each = [after[replica] - before[replica] for replica in before]
    assert sum(each) == requests * len(GROUPS)
    assert all(each)


def test_a_body_over_the_limit_is_refused_as_by_the_app_itself(served: str) -> None:
    most = RewardServerSettings().max_body_bytes

    def parts() -> Iterator[bytes]:
        for _ in range(most // 2**20 + 1):
            yield b" " * 2**20

    for content in (b" " * (most + 1), parts()):
        refused = httpx.post(f"{served}/score/outcome", content=content, headers={"x-request-id": "large"})
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (413, "request_too_large")
        assert refused.headers["content-type"] == "application/problem+json"
        assert problem["detail"] == f"the body is larger than {most} bytes"
        assert problem["request_id"] == "large"


@pytest.mark.parametrize("declared", [{}, {"content-length": "1000"}])
def test_the_front_reads_no_more_than_the_limit(declared: dict[str, str]) -> None:
    read: list[int] = []

    async def receive() -> dict[str, Any]:
        read.append(10)
        return {"type": "http.request", "body": b" " * 10, "more_body": True}

    headers = [(name.encode(), value.encode()) for name, value in declared.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    answer = asyncio.run(Front(None, max_body_bytes=99, body_timeout_s=60.0)(Request(scope, receive)))
    assert (answer.status_code, sum(read)) == (413, 0 if declared else 100)


def test_the_front_refuses_a_body_that_does_not_arrive() -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    answer = asyncio.run(Front(None, max_body_bytes=99, body_timeout_s=0.01)(Request(scope, receive)))
    assert json.loads(bytes(answer.body))["code"] == "body_too_slow"


def test_calls_of_a_cohort_have_one_key_and_others_have_none() -> None:
    def key(path: str, **body: Any) -> str:
        return cohort_key(path, json.dumps(body).encode())

    one = key("/cohort/openrlhf", prompts=["p"], query=["p a"], labels=["x"])
    assert one == key("/cohort/openrlhf", prompts=["p"], query=["p b"], labels=["x"])
    assert one != key("/cohort/openrlhf", prompts=["q"], query=["q a"], labels=["x"])
    assert one != key("/cohort/openrlhf", prompts=["p"], query=["p a"], labels=["y"])
    ids = [{"prompt": prompt, "response": prompt, "group_id": "g"} for prompt in "pq"]
    assert len({key("/cohort/remote", **each) for each in ids}) == 1
    assert key("/score/solver", groups=[]) == cohort_key("/cohort/remote", b"not JSON") == ""
    assert cohort_key("/verify", b"[" * 100_000) == ""


@pytest.mark.parametrize(
    ("siblings", "other"),
    [
        ({"_ng_task_index": 3, "group_id": "an id of another protocol"}, {"_ng_task_index": 4}),
        ({"prompt_id": None, "_ng_task_index": 0}, {"_ng_task_index": 1}),
        ({"expected_answer": "7"}, {"expected_answer": "8"}),
        ({"verifier_metadata": {"a": 1}, "agent_ref": {"name": "x"}}, {"verifier_metadata": {"a": 2}}),
    ],
)
def test_a_task_is_routed_by_what_the_app_groups_it_by(
    compass_http: httpx.Client, siblings: dict[str, Any], other: dict[str, Any]
) -> None:
    """Calls that the app puts into one cohort have one key, although everything else in them differs."""

    def body(number: int, task: dict[str, Any]) -> dict[str, Any]:
        parameters = {"input": "p", "temperature": number / 10, "metadata": {"attempt": str(number)}}
        return {"responses_create_params": parameters, "response": {"output": []}, "seed": number, **task}

    calls = [body(number, siblings) for number in range(2)]
    run: dict[str, str | int] = {"group_size": 2, "deadline_s": 30, "run": json.dumps(siblings)}
    with ThreadPoolExecutor() as pool:
        answered = list(pool.map(lambda sent: compass_http.post("/verify", params=run, json=sent), calls))
    assert [each.json()["reward_partial"] for each in answered] == [0.0, 0.0]
    keys = {cohort_key("/verify", json.dumps(sent).encode()) for sent in calls}
    assert len(keys) == 1
    assert cohort_key("/verify", json.dumps(body(0, other)).encode()) not in keys


def test_the_config_file_is_valid() -> None:
    document = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text())
    serve.schema.ServeDeploySchema.model_validate(document)
    [application] = document["applications"]
    assert application["import_path"] == f"{app.__module__}:{app.__name__}"
    RewardServerSettings(**application["args"])


def _wait_for(flying: list[Future[Any]], done: int) -> None:
    deadline_s = time.monotonic() + 60
    while sum(future.done() for future in flying) < done:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def _until(counts: Callable[[], dict[str, float]], replicas: int) -> dict[str, float]:
    """The counts, once `replicas` replicas have one."""
    deadline_s = time.monotonic() + 60
    while len(found := counts()) != replicas:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    return found


def _await_replicas() -> None:
    deadline_s = time.monotonic() + 120
    while len(replicas()) < REPLICAS:
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
