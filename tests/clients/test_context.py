"""The context of groups: what is sent, to which servers, and that no fault of it fails a call."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ireasoner.clients import (
    Group,
    Overloaded,
    RequestRefused,
    RewardClient,
    Rollout,
    Unavailable,
    codec,
)
from ireasoner.clients.framework_context import Context
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.server_context import ServerContext, server_context
from ireasoner.clients.wire import ScoreRequest
from tests.clients.answers import GROUPS, Json, right_answer
from tests.clients.lying_server import CLIENTS, Call, LyingServer, Reply, response
from tests.moved_clock import MovedClock
from tests.reward_server.requests import rollout

IMAGE = b"not really a PNG"
SHA256 = hashlib.sha256(IMAGE).hexdigest()
CONTEXT: Json = {"question": "How many?", "image": SHA256, "labels": ["7", "seven"]}
WITH_CONTEXT = [replace(group, **CONTEXT) for group in GROUPS]
REQUEST: Json = {"update": 3, "source": "run-1"}


@pytest.fixture(params=CLIENTS)
def call(request: pytest.FixtureRequest, liar: LyingServer) -> Iterator[Call]:
    """Calls of each client, which knows nothing of the server yet."""
    server_context.cache_clear()
    with CLIENTS[request.param](liar.url, timeout_s=20) as started:
        yield started
    server_context.cache_clear()


def context_of(body: Json) -> Json:
    """The context in the body of a request, and of its first group."""
    names = (*REQUEST, *CONTEXT, "record")
    return {name: value for name, value in {**body, **body["groups"][0]}.items() if name in names}


def encoded(group: Group | None = None, **fields: Any) -> Json:
    group = group or Group("g", [Rollout("0", "a")], **fields)
    body: Json = json.loads(codec.encode_request(ScoreRequest("solver", [group])))
    return context_of(body)


def speaking(version: str | None, sent: list[Json], refuses: bool = False) -> Reply:
    """A server of a version of the wire, which refuses context like 2.0 if it is told to."""

    def reply(_: str, body: Json) -> Iterator[bytes]:
        sent.append(context_of(body))
        if refuses and sent[-1]:
            problem = json.dumps({"code": "malformed_request", "detail": "extra inputs are not permitted"})
            yield response(problem.encode(), "422 Unprocessable Entity", x_wire_version=version)
        else:
            yield response(json.dumps(right_answer(body)).encode(), x_wire_version=version)

    return reply


@pytest.mark.parametrize("version", ["2.1.0", "2.9.4", "2.10", None])
def test_a_server_that_takes_context_gets_it(call: Call, liar: LyingServer, version: str | None) -> None:
    sent: list[Json] = []
    liar.reply = speaking(version, sent)
    for _ in range(2):
        call("score", "solver", WITH_CONTEXT, **REQUEST)
    assert sent == [{**CONTEXT, **REQUEST}] * 2
    call("score", "solver", GROUPS)
    assert sent[2] == {}, "what is None is left out"


@pytest.mark.parametrize("version", ["2.0.0", "2.0", None])
def test_an_older_server_is_asked_once_and_then_spared(
    call: Call, liar: LyingServer, caplog: pytest.LogCaptureFixture, version: str | None
) -> None:
    sent: list[Json] = []
    liar.reply = speaking(version, sent, refuses=True)
    rewards = [
        call("score", "solver", WITH_CONTEXT, **REQUEST).groups[0].rollouts[0].reward for _ in range(3)
    ]
    assert rewards == [0.625] * 3
    assert [bool(each) for each in sent] == [True, False, False, False]
    assert call("put_image", IMAGE) == SHA256
    assert len(sent) == 4, "nor is it offered an image"
    assert not caplog.records


@pytest.mark.parametrize("version", ["2.0.0", "2.1.0", None])
def test_an_older_server_scores_what_it_should_not_record_without_context(
    call: Call, liar: LyingServer, version: str | None
) -> None:
    sent: list[Json] = []
    liar.reply = speaking(version, sent, refuses=True)
    assert call("score", "solver", GROUPS, record=False).groups[0].rollouts[0].reward == 0.625
    assert sent == [{"record": False}, {}]


@pytest.mark.parametrize("version", ["2", "2.x", "2." + "9" * 5_000, "2.\u00b2.1"])
def test_a_version_that_says_nothing_changes_nothing(call: Call, liar: LyingServer, version: str) -> None:
    sent: list[Json] = []
    liar.reply = speaking(version, sent)
    call("score", "solver", WITH_CONTEXT)
    assert sent == [CONTEXT]


def test_a_version_that_is_known_spares_the_refusal(call: Call, liar: LyingServer) -> None:
    """Any answer names it; and a server that is upgraded in mid-run gets context from then on."""
    sent: list[Json] = []
    liar.reply = speaking("2.0.0", sent, refuses=True)
    call("score", "solver", GROUPS)
    call("score", "solver", WITH_CONTEXT)
    assert sent == [{}, {}]
    liar.reply = speaking("2.1.0", sent)
    call("score", "solver", WITH_CONTEXT)
    call("score", "solver", WITH_CONTEXT)
    assert [bool(each) for each in sent] == [False, False, False, True]


@pytest.mark.parametrize("status", ["413 Content Too Large", "422 Unprocessable Entity"])
def test_a_newer_server_that_refuses_context_scores_without_it(
    call: Call, liar: LyingServer, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    """Each request is tried with it, since only some may be too long, and one refusal is logged."""
    sent: list[Json] = []

    def reply(_: str, body: Json) -> Iterator[bytes]:
        sent.append(context_of(body))
        answer = json.dumps({"code": "no", "detail": "no"} if sent[-1] else right_answer(body)).encode()
        yield response(answer, status if sent[-1] else "200 OK", x_wire_version="2.1.0")

    liar.reply = reply
    for _ in range(2):
        assert call("score", "solver", WITH_CONTEXT).groups[0].rollouts[0].reward == 0.625
    assert [bool(each) for each in sent] == [True, False] * 2
    [record] = caplog.records
    assert "refused context, which is left out" in record.message


@pytest.mark.parametrize(
    ("status", "groups", "requests"),
    [("422 No", GROUPS, 1), ("422 No", WITH_CONTEXT, 2), ("404 No", WITH_CONTEXT, 1), ("403 No", GROUPS, 1)],
)
def test_a_refusal_that_is_not_for_the_context_is_raised(
    call: Call, liar: LyingServer, status: str, groups: list[Group], requests: int
) -> None:
    liar.reply = lambda *_: [response(b'{"code": "unknown_config"}', status, x_wire_version="2.1.0")]
    liar.requests.clear()
    with pytest.raises(RequestRefused, match="unknown_config"):
        call("score", "solver", groups)
    assert len(liar.requests) == requests


def test_context_is_not_blamed_for_a_refusal_that_the_bare_request_gets_too(
    call: Call, liar: LyingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the log, nor by sending it no more to a server that names no version."""
    sent: list[Json] = []

    def refusing(_: str, body: Json) -> Iterator[bytes]:
        sent.append(context_of(body))
        yield response(b'{"code": "unknown_config"}', "422 Unprocessable Entity")

    liar.reply = refusing
    with pytest.raises(RequestRefused, match="unknown_config"):
        call("score", "solver", WITH_CONTEXT)
    assert not caplog.records
    liar.reply = speaking(None, sent)
    call("score", "solver", WITH_CONTEXT)
    assert [bool(each) for each in sent] == [True, False, True]


def putting(status: str, version: str = "2.1.0") -> Reply:
    return lambda *_: [response(b"", status, content_type=None, x_wire_version=version)]


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content"])
def test_an_image_is_put_once(call: Call, liar: LyingServer, status: str) -> None:
    liar.reply = putting(status)
    liar.requests.clear()
    assert [call("put_image", each) for each in (IMAGE, IMAGE, b"another")][:2] == [SHA256] * 2
    assert liar.requests == [
        f"/ledger/images/{SHA256}",
        f"/ledger/images/{hashlib.sha256(b'another').hexdigest()}",
    ]


@pytest.mark.parametrize(
    "status", ["404 Not Found", "405 Method Not Allowed", "401 Unauthorized", "403 Forbidden"]
)
def test_a_server_without_a_ledger_is_not_asked_again(
    call: Call, liar: LyingServer, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    liar.reply = putting(status)
    liar.requests.clear()
    for image in (IMAGE, IMAGE, b"another"):
        call("put_image", image)
    assert len(liar.requests) == 1
    assert not caplog.records


@pytest.mark.parametrize("status", ["400 No", "413 No", "415 No", "422 No"])
def test_an_image_that_is_refused_is_not_put_again(
    call: Call, liar: LyingServer, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    liar.reply = putting(status)
    liar.requests.clear()
    for image in (IMAGE, IMAGE, b"another"):
        call("put_image", image)
    assert len(liar.requests) == 2
    [record] = caplog.records
    assert "the ledger will lack an image" in record.message


BROKEN: dict[str, Callable[..., list[bytes]]] = {
    "overloaded": lambda *_: [response(b"", "429 Too Many Requests")],
    "full disk": lambda *_: [response(b"", "507 Insufficient Storage")],
    "a fault": lambda *_: [response(b"", "500 No")],
    "unavailable": lambda *_: [response(b"", "503 No")],
    "no answer": lambda *_: [],
    "half an answer": lambda *_: [response(b"12345", content_length="50")],
    "another server": lambda *_: [response(b"", "301 Moved", location="http://127.0.0.1:9/")],
    "compressed": lambda *_: [response(b"", content_encoding="gzip")],
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_a_server_that_fails_is_left_alone_for_a_while(
    call: Call, liar: LyingServer, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    liar.reply = reply
    liar.requests.clear()
    for image in (IMAGE, IMAGE, b"another"):
        assert call("put_image", image) == hashlib.sha256(image).hexdigest()
    assert len(liar.requests) == 1
    [record] = caplog.records
    assert "the ledger may lack images" in record.message


def test_an_unreachable_server_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    server_context.cache_clear()
    with RewardClient("http://127.0.0.1:9") as client:
        assert client.put_image(IMAGE) == SHA256
    assert len(caplog.records) == 1


def test_images_are_put_again_after_an_hour_and_a_ledger_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server may have evicted them, or been started anew with another ledger."""
    clock = MovedClock.of(monkeypatch, "ireasoner.clients.server_context", now_s=0.0)
    context = ServerContext("http://server")
    context.has("a")
    assert not context.wants("a")
    clock.now_s = 3601.0
    assert context.wants("a")
    context.not_put("a", RequestRefused(404, "not_found", "no"))
    assert not context.wants("b")
    clock.now_s += 601
    assert context.wants("b")
    for pause_s, error in (
        (60, Unavailable(503, "not_ready", "no")),
        (5, Unavailable(503, "ledger_unavailable", "no", retry_after_s=5)),
        (600, Overloaded(429, "overloaded", "no", retry_after_s=1e9)),
    ):
        context.not_put("b", error)
        clock.now_s += pause_s - 1
        assert not context.takes_images
        clock.now_s += 2
        assert context.takes_images


def test_a_client_remembers_a_bounded_number_of_images() -> None:
    context = ServerContext("http://server")
    for number in range(5000):
        context.has(str(number))
    assert not context.wants("4999")
    assert context.wants("0")
    assert sum(not context.wants(str(number)) for number in range(5000)) == 4096


def test_clients_of_one_server_and_token_share_what_they_know() -> None:
    assert server_context("http://a", "t") is server_context("http://a", "t")
    assert server_context("http://a", "t") is not server_context("http://a", "u")
    assert server_context("http://a", None) is not server_context("http://b", None)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"question": "q" * 65_536}, {"question": "q" * 65_536}),
        ({"question": "q" * 65_537}, {"question": "q" * 65_526 + " [cut off]"}),
        ({"question": "漢" * 100_000}, {"question": "漢" * 65_526 + " [cut off]"}),
        ({"question": "half \ud83d"}, {"question": "half \ufffd"}),
        ({"question": "a pair \ud83d\ude00"}, {"question": "a pair 😀"}),
        ({"question": ""}, {}),
        ({"labels": []}, {}),
        ({"labels": ["7"] * 64}, {"labels": ["7"] * 64}),
        ({"labels": ["7"] * 65}, {}),
        ({"labels": ["7", "x" * 4_096]}, {"labels": ["7", "x" * 4_096]}),
        ({"labels": ["7", "x" * 4_097]}, {}),
        ({"labels": ["\udc00"]}, {"labels": ["\ufffd"]}),
        ({"labels": [""]}, {"labels": [""]}),
    ],
    ids=str,
)
def test_context_beyond_the_bounds_is_cut_off_or_left_out(given: Json, sent: Json) -> None:
    assert encoded(**given) == sent


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"update": 0}, {"update": 0}),
        ({"update": 2**53 - 1}, {"update": 2**53 - 1}),
        ({"update": 2**53}, {}),
        ({"update": -1}, {}),
        ({"source": "s" * 257}, {"source": "s" * 246 + " [cut off]"}),
        ({"source": "\udcff"}, {"source": "\ufffd"}),
        ({"source": ""}, {}),
        ({"record": True}, {}),
        ({"record": False}, {"record": False}),
    ],
    ids=str,
)
def test_the_context_of_a_request_is_bounded(given: Json, sent: Json) -> None:
    request = ScoreRequest("solver", GROUPS, **given)
    assert context_of(json.loads(codec.encode_request(request))) == sent


@pytest.mark.parametrize(
    "context", [Context(), Context("q" * 70_000, None, ["7"]), Context(None, None, ["x" * 5_000])]
)
def test_a_cohort_endpoint_gets_the_prompt_beside_the_id(liar: LyingServer, context: Context) -> None:
    """The id alone decides which rollouts belong together."""
    bodies: list[Json] = []

    def reply(_: str, body: Json) -> Iterator[bytes]:
        bodies.append(body)
        names = (
            "outcome",
            "trajectory",
            "dominant_share",
            "tie",
            "valid",
            "abstained",
            "steps_judged",
            "partial",
        )
        yield response(json.dumps(dict.fromkeys(names, 0) | {"reward": 0.5, "group_size": 2}).encode())

    liar.reply = reply
    liar.requests.clear()
    for source in (None, "run 1"):
        service = RewardService(liar.url, source=source)
        answer = asyncio.run(service.score_in_cohort("uid", "text", 2, 1.0, context))
        assert answer["reward"] == 0.5
    question = context.question and f"{'q' * 65_526} [cut off]"
    fits = context.labels == ["7"]
    assert bodies[0] == {
        "prompt": question or "uid",
        "response": "text",
        "group_id": "uid",
        **({"label": ["7"]} if fits else {}),
    }
    assert ["run=run+1" in path for path in liar.requests] == [False, True]


@pytest.mark.parametrize("image", ["", "a" * 63, "A" * 64, "g" * 64, SHA256 + "\n", f"sha256:{SHA256}"])
def test_an_image_is_named_by_its_hash(image: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256 of 64 hexadecimal digits"):
        Group("g", [], image=image)


def test_no_reward_depends_on_context(compass_url: str, compass_http: httpx.Client) -> None:
    """At the real server, whose answers are equal to the last digit; and it takes the longest context."""
    plain = [Group("g", [Rollout(str(i), rollout(str(i % 2), "east", "north")) for i in range(5)])]
    longest: Json = {"question": "漢" * 70_000, "image": SHA256, "labels": ["0", *["x" * 4_096] * 63]}
    with RewardClient(compass_url) as client:
        expected = client.score("solver", plain, progress=0.5).groups
        for context in (CONTEXT, longest, {"labels": ["1"]}, {"question": "\ud800"}):
            groups = [replace(group, **context) for group in plain]
            assert client.score("solver", groups, progress=0.5, **REQUEST).groups == expected
        body = {"groups": [{"id": "g", "rollouts": [{"id": "0", "text": "a"}], **CONTEXT}], **REQUEST}
        assert compass_http.post("/score/outcome", json=body).status_code == 200
