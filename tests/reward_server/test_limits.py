"""Requests that are too large, too late or too many get their own status, and whether a retry can help."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ireasoner.reward_server.api.admission import REQUEST_BYTES
from ireasoner.reward_server.api.json_body import Size, size_outside_texts
from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.engine import Engine
from ireasoner.reward_server.scoring import scorer
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.methods import voting
from tests.reward_server.requests import group, rollout
from tests.reward_server.running import running


@pytest.fixture(scope="module")
def small(compass: Path) -> Iterator[str]:
    """A server with low limits."""
    settings = RewardServerSettings(
        embedder="token-mean",
        token_mean_checkpoint=compass,
        max_queue_texts=6,
        max_body_bytes=10_000,
        max_held_bytes=REQUEST_BYTES + 60_000,
    )
    limits = Limits(
        max_groups=2,
        max_rollouts=3,
        max_request_rollouts=5,
        max_steps=4,
        max_request_steps=9,
        max_request_signals=6,
        max_views=2,
        max_text_characters=50,
    )
    with running(settings, limits=limits) as url:
        yield url


def parsed(*steps: str, answer: str = "7", name: str = "g") -> dict[str, Any]:
    return {"id": name, "rollouts": [{"id": "0", "answer": answer, "steps": list(steps)}]}


@pytest.mark.parametrize(
    ("groups", "path"),
    [
        ([group(["a"], name) for name in "abc"], "groups"),
        ([group(["a"]), group(["a"] * 4, "h")], "groups[1].rollouts"),
        ([group(["a"] * 3), group(["a"] * 3, "h")], "groups"),
        ([parsed(*"abcde")], "groups[0].rollouts[0].steps"),
        ([parsed("a" * 30, "b" * 30)], "groups[0].rollouts[0].steps"),
        ([parsed(answer="a" * 51)], "groups[0].rollouts[0].answer"),
        ([group(["a" * 51])], "groups[0].rollouts[0].text"),
        ([voting([7], answer_in_view=["a" * 51])], "groups[0].rollouts[0].answer_in_view"),
        ([voting([7] * 3, view=["a", "b", None])], "groups[0].rollouts"),
        ([voting([7], signals=[{f"s{n}": 1 for n in range(7)}])], "groups"),
        ([voting([7] * 3, "a", voters="b"), voting([7] * 3, "b", voters="a")], "groups"),
    ],
)
def test_each_limit_names_the_field_that_exceeds_it(small: str, groups: list[Any], path: str) -> None:
    refused = httpx.post(f"{small}/score/outcome", json={"groups": groups})
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["retryable"]) == (413, "request_too_large", False)
    assert [fault["place"] for fault in problem["errors"]] == [path]


def size(part: object) -> Size:
    """Objects and lists in a value, and its values; a key counts as one more, and so does what is empty."""
    if not isinstance(part, dict | list):
        return Size(0, 0)
    inner = [size(each) for each in (part.values() if isinstance(part, dict) else part)]
    separators = max(len(part) - 1, 0) + (len(part) if isinstance(part, dict) else 0)
    containers = 1 + sum(each.containers for each in inner)
    return Size(containers, 1 + separators + sum(each.values for each in inner))


TEXTS = st.text('{}[]",:\\ a\u00e9\n', max_size=6)
VALUES = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)


@given(value=VALUES, escaped=st.booleans())
def test_values_are_counted_and_what_is_in_texts_is_not(value: object, escaped: bool) -> None:
    body = json.dumps(value, ensure_ascii=escaped).encode()
    counted = size_outside_texts(body, Size(10**9, 10**9))
    assert counted == size(value)
    if counted.containers:
        assert size_outside_texts(body, Size(counted.containers - 1, 10**9)).containers == counted.containers


@pytest.mark.timeout(20)
def test_a_body_that_ends_inside_a_text_is_scanned_once() -> None:
    """A text of escaped quotes that never ends is scanned once, not once per quote."""
    body = b'"' + b'\\"' * 500_000 + b"[" * 1000 + b"\\"
    assert size_outside_texts(body, Size(10, 10)) == Size(0, 0)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        (b'{"id":"0","text":"a"},' * 200, "24 objects and lists"),
        (b"[]," * 200, "24 objects and lists"),
        (b'{"a":' * 200, "24 objects and lists"),
        (b'"",' * 300, "267 values"),
        (b"1," * 300, "267 values"),
        (b'{"0":1' + b"".join(b',"%d":1' % number for number in range(300)) + b"}", "267 values"),
    ],
)
def test_more_values_than_a_request_can_have_are_refused_before_parsing(
    small: str, parts: bytes, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(body: bytes) -> None:
        raise AssertionError("the body was parsed")

    monkeypatch.setattr("ireasoner.reward_server.api.json_body.orjson.loads", built)
    headers = {"content-type": "application/json"}
    refused = httpx.post(f"{small}/score/outcome", content=b'{"groups":[' + parts, headers=headers)
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (413, "request_too_large")
    assert problem["detail"] == f"body: more than {what}"


def test_brackets_in_texts_do_not_count_as_objects(small: str) -> None:
    scored = httpx.post(f"{small}/score/outcome", json={"groups": [group(['\\"{[' * 12] * 3)]})
    assert scored.status_code == 200


def test_probes_are_answered_while_a_large_request_is_scored(
    compass_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage of scoring, observed by its work on one group, lets probes through before it ends."""
    stages = {scorer: ("read_group", "_judge_group", "scored_group"), Engine: ("readiness",)}
    done: list[str] = []

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*given: Any, **named: Any) -> Any:
            done.append(name)
            if name in stages[scorer] and "readiness" not in done[done.index(name) :]:
                time.sleep(0.002)  # gives a probe time to come through before the stage ends
            return call(*given, **named)

        return noting

    for owner, names in stages.items():
        for name in names:
            monkeypatch.setattr(owner, name, noted(name, getattr(owner, name)))
    texts = [rollout(str(number % 3), "east", "north") for number in range(16)]
    large = {"groups": [group(texts, str(number)) for number in range(1024)]}
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=compass_url) as http:
        scored = pool.submit(httpx.post, f"{compass_url}/score/solver", json=large, timeout=120)
        while not scored.done():
            assert http.get("/readyz", timeout=60).status_code == 200
    assert scored.result().status_code == 200
    for stage in stages[scorer]:
        assert done.count(stage) == len(large["groups"])
        last = len(done) - done[::-1].index(stage)
        assert "readiness" in done[done.index(stage) : last], f"{stage} blocks probes"


def test_single_and_batched_requests_share_one_queue(small: str) -> None:
    seven = [parsed("a", "b", "c", "d"), parsed("e", "f", "g", name="h")]
    for each in seven:
        each["rollouts"].append(each["rollouts"][0] | {"id": "1"})
    refused = httpx.post(f"{small}/score/solver", json={"groups": seven})
    assert (refused.status_code, refused.json()["code"]) == (413, "request_too_large")


def test_a_body_that_does_not_arrive_in_time_is_refused(compass: Path) -> None:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with running(settings, limits=Limits(body_timeout_s=0.5)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as slow:
            head = "POST /score/outcome HTTP/1.1\r\nhost: x\r\ncontent-type: application/json"
            slow.sendall(f"{head}\r\ncontent-length: 99\r\n\r\n{{".encode())
            assert slow.recv(4096).startswith(b"HTTP/1.1 408")


def test_bodies_of_all_requests_together_are_bounded(small: str) -> None:
    host, port = small.removeprefix("http://").split(":")
    head = "POST /score/outcome HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9000"
    with socket.create_connection((host, int(port)), timeout=20) as holding:
        holding.sendall(f"{head}\r\n\r\n{'x' * 8000}".encode())
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:  # until the server has read the first body
            refused = httpx.post(
                f"{small}/score/outcome", content=b" " * 8000, headers={"content-type": "application/json"}
            )
            if refused.status_code == 429:
                break
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert refused.json()["retryable"] is True
        assert refused.headers["retry-after"] == "1"
    body = {"groups": [group([rollout("7", "east")])]}
    assert httpx.post(f"{small}/score/outcome", json=body).status_code == 200


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "soon", "inf"])
def test_an_invalid_deadline_is_refused(compass_url: str, timeout: str) -> None:
    body = {"groups": [group([rollout("7", "east")])]}
    refused = httpx.post(f"{compass_url}/score/outcome", json=body, headers={"x-request-timeout": timeout})
    assert (refused.status_code, refused.json()["errors"][0]["place"]) == (422, "x-request-timeout")


def test_probes_are_logged_at_debug_only(
    compass_http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "ireasoner.reward_server.api.admission")
    for route in ("/livez", "/readyz", "/configs"):
        assert compass_http.get(route).status_code == 200
    logged = {record.getMessage(): record.levelname for record in caplog.records}
    assert logged["GET /livez 200"] == logged["GET /readyz 200"] == "DEBUG"
    assert logged["GET /configs 200"] == "INFO"


def test_metrics_count_what_happened(compass: Path) -> None:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with running(settings) as url, httpx.Client(base_url=url) as http:
        tied = group([rollout("7", "east"), rollout("8", "north")], "tied")
        body = {"groups": [group([rollout("7", "east"), rollout("7", "north"), ""]), tied]}
        assert http.post("/score/solver", json=body).status_code == 200
        assert http.post("/score/solver", json=body | {"config": {"alpha": 1}}).status_code == 200
        assert http.get("/somewhere/else").status_code == 404
        shown = http.get("/metrics").text
    assert 'reward_requests_total{code="200",experiment="-",route="/score/solver"} 2.0' in shown
    assert 'reward_requests_total{code="404",experiment="-",route="none"} 1.0' in shown
    assert 'reward_rollouts_total{config="paper",experiment="-",status="ok"} 4.0' in shown
    assert 'reward_rollouts_total{config="paper",experiment="-",status="invalid"} 1.0' in shown
    assert 'reward_ties_total{config="paper",experiment="-"} 1.0' in shown
    assert 'reward_ties_total{config="paper+",experiment="-"} 1.0' in shown
    assert 'reward_request_seconds_count{experiment="-",route="/score/solver"} 2.0' in shown
    [build] = [line for line in shown.splitlines() if line.startswith("reward_build_info{")]
    for label in ("version", "wire_version", "embedder", "embedder_identity", "parser", "formulas", "sympy"):
        assert f'{label}="' in build
    assert 'reward_cache_lookups_total{result="miss"} 2.0' in shown
    assert 'reward_dominant_share_count{config="paper",experiment="-"} 2.0' in shown
    assert (
        'reward_component_bucket{component="trajectory",config="paper",experiment="-",le="1.0"} 5.0' in shown
    )
    assert "reward_queue_texts 0.0" in shown
    assert "reward_embedder_up 1.0" in shown


def test_concurrent_requests_each_get_their_own_answer(compass_url: str) -> None:
    answers: list[str] = []

    def call(number: int) -> None:
        body = {"groups": [group([rollout(str(number), "east " * (1 + number % 7))])]}
        answers.append(
            httpx.post(f"{compass_url}/score/solver", json=body).json()["groups"][0]["dominant_answer"]
        )

    threads = [threading.Thread(target=call, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(int, answers)) == list(range(40))
