"""The two clients can do the same things, with the same arguments."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ireasoner.clients import AsyncRewardClient, BadAnswer, RequestRefused, RewardClient
from tests.clients.lying_server import CLIENTS, LyingServer, response
from tests.reward_server.requests import rollout

EACH_CLIENT = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
OF_ONE_KIND = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__"}


def surface(client: type) -> dict[str, Any]:
    """The public attributes of a class, under the names of the blocking client."""
    names = {other: name for name, other in OF_ONE_KIND.items()}
    return {
        names.get(name, name): value
        for name, value in vars(client).items()
        if not name.startswith("_") or name in OF_ONE_KIND or name in names
    }


BLOCKING, ASYNC = surface(RewardClient), surface(AsyncRewardClient)


def arguments(method: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """The names, kinds and defaults of its parameters; of a function, what it returns."""
    parameters = inspect.signature(method).parameters.values()
    return [
        (
            each.name,
            each.kind,
            each.default() if inspect.isfunction(each.default) else each.default,
        )
        for each in parameters
    ]


def test_both_have_the_same_methods() -> None:
    assert BLOCKING.keys() == ASYNC.keys()
    assert {"score", "score_many", "score_in_cohort", "scoring_config", "put_image"} <= BLOCKING.keys()


@pytest.mark.parametrize("name", [name for name, value in BLOCKING.items() if callable(value)])
def test_a_method_of_both_takes_the_same(name: str) -> None:
    assert arguments(BLOCKING[name]) == arguments(ASYNC[name])
    assert not inspect.iscoroutinefunction(BLOCKING[name])
    assert inspect.iscoroutinefunction(ASYNC[name]) or inspect.isasyncgenfunction(ASYNC[name])


def test_both_take_the_same_settings() -> None:
    """Their pools differ in size: an event loop has more calls in progress than threads have."""
    settings = [
        [each for each in arguments(client.__init__) if each[0] != "max_connections"]
        for client in (RewardClient, AsyncRewardClient)
    ]
    assert settings[0] == settings[1]


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
@pytest.mark.parametrize("setting", ["timeout_s", "retry_budget_s"])
@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("-inf"), float("nan")])
def test_a_time_without_an_end_is_refused(kind: Any, setting: str, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"{setting} is "):
        kind("http://127.0.0.1:9", **{setting: seconds})


@EACH_CLIENT
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("paper", {"outcome": "share", "alpha": 0.7}),
        ("self-certainty", {"outcome": "signal", "signal": "self_certainty"}),
        ("co-rewarding", {"votes": "voters"}),
    ],
)
def test_the_fields_of_a_config_can_be_read(
    client: Any, compass_url: str, name: str, fields: dict[str, Any]
) -> None:
    with client(compass_url) as call:
        config = call("scoring_config", name)
    assert {field: config[field] for field in fields} == fields


@EACH_CLIENT
@pytest.mark.parametrize("name", ["no-such-config", "a/b", "..", "?x=1", "paper/", "\u00fc", "a b"])
def test_a_config_that_does_not_exist_is_refused(client: Any, compass_url: str, name: str) -> None:
    with client(compass_url) as call, pytest.raises((RequestRefused, BadAnswer)):
        call("scoring_config", name)


@EACH_CLIENT
@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"config": null}', b'{"config": "paper"}', b"paper", b""])
def test_an_answer_without_a_config_is_a_bad_answer(client: Any, liar: LyingServer, body: bytes) -> None:
    liar.reply = lambda *_: [response(body)]
    with client(liar.url) as call, pytest.raises(BadAnswer):
        call("scoring_config", "paper")


def test_threads_that_share_a_client_meet_in_a_cohort(compass_url: str, compass_http: httpx.Client) -> None:
    """Its one connection to score with holds nobody up."""
    texts = [rollout("7", "east"), rollout("7", "north"), rollout("8", "west")]
    body = {"groups": [{"id": "g", "rollouts": [{"id": str(i), "text": t} for i, t in enumerate(texts)]}]}
    [scored] = compass_http.post("/score/solver", json=body).json()["groups"]

    with RewardClient(compass_url, max_connections=1) as client, ThreadPoolExecutor(len(texts)) as pool:

        def one(text: str) -> dict[str, float]:
            return client.score_in_cohort("threads", text, group_size=len(texts), deadline_s=30)

        got = list(pool.map(one, texts))
    assert [each["reward"] for each in got] == [each["reward"] for each in scored["rollouts"]]
    assert {each["partial"] for each in got} == {0.0}


@EACH_CLIENT
def test_a_cohort_whose_deadline_is_no_number_is_refused(client: Any, compass_url: str) -> None:
    with client(compass_url) as call, pytest.raises(RequestRefused):
        call("score_in_cohort", "g", "text", group_size=0, deadline_s=-1)
