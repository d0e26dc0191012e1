"""Both clients against the real app: callers get what the server sends."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import cast

import httpx
import pytest

from ireasoner.clients import (
    AsyncRewardClient,
    Cluster,
    Config,
    Endpoint,
    Group,
    RequestRefused,
    RewardClient,
    Rollout,
    ScoreResponse,
)
from ireasoner.clients.wire import MAJOR_VERSION, FinishReason
from tests.reward_server.requests import rollout

GROUPS = [
    Group("g", [Rollout("0", rollout("7", "east")), Rollout("1", rollout("7", "north")), Rollout("2", "")]),
    Group("h", [Rollout("0", answer="8", steps=["east"]), Rollout("1", steps=["east"])]),
]


def by_async(url: str, endpoint: Endpoint, groups: Sequence[Group], config: Config) -> ScoreResponse:
    async def call() -> ScoreResponse:
        async with AsyncRewardClient(url) as client:
            await client.wait_until_ready(10)
            return await client.score(endpoint, groups, config=config)

    return asyncio.run(call())


def by_sync(url: str, endpoint: Endpoint, groups: Sequence[Group], config: Config) -> ScoreResponse:
    with RewardClient(url) as client:
        client.wait_until_ready(10)
        return client.score(endpoint, groups, config=config)


Call = Callable[[str, Endpoint, Sequence[Group], Config], ScoreResponse]
CLIENTS = pytest.mark.parametrize("call", [by_sync, by_async])


@CLIENTS
@pytest.mark.parametrize("preset", ["paper", "robust"])
@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "solver", "proposer"])
def test_every_field_arrives(call: Call, compass_url: str, endpoint: Endpoint, preset: str) -> None:
    """The decoded response, written out again, is the server's; fields that the server left out are empty."""
    config = {"preset": preset, "alpha": 0.5}
    response = call(compass_url, endpoint, GROUPS, config)
    body = {
        "groups": [
            {"id": "g", "rollouts": [{"id": r.id, "text": r.text} for r in GROUPS[0].rollouts]},
            {
                "id": "h",
                "rollouts": [{"id": r.id, "answer": r.answer, "steps": r.steps} for r in GROUPS[1].rollouts],
            },
        ],
        "config": config,
    }
    raw = httpx.post(f"{compass_url}/score/{endpoint}", json=body).json()
    written = dataclasses.asdict(response)
    assert _full(written["groups"]) == _full(raw["groups"])
    assert response.fingerprint == raw["fingerprint"]


def _full(value: object) -> object:
    """With lists for tuples, and without empty optional fields."""
    if isinstance(value, dict):
        optional: dict[str, object] = {
            "rollouts": [],
            "members": [],
            "not_compared": [],
            "hint": None,
            "credit": None,
            "place": None,
            "rewarded": True,
            "components": {},
        }
        full = {name: _full(each) for name, each in value.items()}
        return {name: each for name, each in full.items() if name not in optional or each != optional[name]}
    return [_full(each) for each in value] if isinstance(value, list | tuple) else value


@CLIENTS
def test_the_attributes_of_a_response(call: Call, compass_url: str) -> None:
    group = call(compass_url, "trajectory", GROUPS, "paper").groups[0]
    assert (group.id, group.dominant_answer, group.tie) == ("g", "7", False)
    assert group.clusters == (Cluster("7", 2),)
    first, _, empty = group.rollouts
    # density (2/3)^.7 = .752897 times (1 + cos 45 degrees)/2 = .853553
    assert first.reward == first.trajectory == pytest.approx(0.642639, abs=1e-6)
    assert first.steps[0].cosine == pytest.approx(0.707107, abs=1e-6)
    assert (empty.status, empty.reward, empty.outcome) == ("invalid", 0.0, None)


@CLIENTS
def test_a_refusal_is_typed_and_names_the_path(call: Call, compass_url: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        call(compass_url, "solver", GROUPS, {"alhpa": 1})
    assert (refused.value.status, refused.value.code) == (422, "malformed_request")
    assert [fault.place for fault in refused.value.faults] == ["config.alhpa"]
    assert refused.value.request_id


@CLIENTS
def test_a_refusal_says_how_many_faults_it_does_not_list(call: Call, compass_url: str) -> None:
    wrong = {f"wrong {number}": 1 for number in range(25)}
    with pytest.raises(RequestRefused, match="24 more faults; the first 20 are listed") as refused:
        call(compass_url, "solver", GROUPS, wrong)
    assert len(refused.value.faults) == 20
    with pytest.raises(RequestRefused, match=r"config\.b: [^;]*$"):
        call(compass_url, "solver", GROUPS, {"a": 1, "b": 1})


@pytest.mark.parametrize("path", ["/livez", "/configs/paper", "/absent"])
def test_every_response_names_the_version_of_the_wire(compass_url: str, path: str) -> None:
    version = httpx.get(compass_url + path).headers["x-wire-version"]
    assert version.split(".")[0] == MAJOR_VERSION
    assert version == httpx.get(f"{compass_url}/openapi.json").json()["info"]["version"]


def test_many_groups_come_back_in_order(compass_url: str) -> None:
    groups = [Group(f"g{i}", [Rollout("0", rollout(str(i), "east " * (i % 9)))]) for i in range(101)]
    with RewardClient(compass_url) as client:
        responses = client.score_many("solver", iter(groups), groups_per_request=7, in_flight=5)
        answers = [(g.id, g.dominant_answer) for response in responses for g in response.groups]
    assert answers == [(f"g{i}", str(i)) for i in range(101)]

    async def scored() -> list[tuple[str, str | None]]:
        async with AsyncRewardClient(compass_url) as client:
            several = client.score_many("solver", groups, groups_per_request=7, in_flight=5)
            return [(g.id, g.dominant_answer) async for response in several for g in response.groups]

    assert asyncio.run(scored()) == answers


def test_score_many_ends_with_the_first_error(compass_url: str) -> None:
    bad = Group("bad", [])
    good = Group("good", [Rollout("0", rollout("7"))])
    with RewardClient(compass_url) as client:
        responses = client.score_many("outcome", [good, bad, good], groups_per_request=1)
        assert next(responses).groups[0].id == "good"
        with pytest.raises(RequestRefused):
            next(responses)


@CLIENTS
def test_the_reason_why_a_completion_ended_decides_what_an_open_tag_means(
    call: Call, compass_url: str
) -> None:
    text = "<think>I add.</think><answer>7"
    reasons: list[FinishReason | None] = [None, "length", "stop"]
    sent = Group("g", [Rollout(str(reason), text, finish_reason=reason) for reason in reasons])
    [scored] = call(compass_url, "outcome", [sent], "paper").groups
    assert [rollout.answer for rollout in scored.rollouts] == [None, None, "7"]
    with pytest.raises(ValueError, match="finish_reason is 'eos'"):
        Rollout("0", text, finish_reason=cast(FinishReason, "eos"))


@CLIENTS
def test_a_group_without_answers_gets_a_hint(call: Call, compass_url: str) -> None:
    [scored] = call(compass_url, "outcome", [Group("g", [Rollout("0", "\\boxed{7}")])], "paper").groups
    assert scored.hint is not None
    assert "answer_from" in scored.hint


def test_a_rollout_needs_text_or_parts() -> None:
    with pytest.raises(ValueError, match="either text, or answer and steps"):
        Rollout("0")
    with pytest.raises(ValueError, match="either text, or answer and steps"):
        Rollout("0", text="a", answer="7")
