"""Both clients and the fields of wire 2.2: signals, views, voters, rollouts that only vote, components."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from ireasoner.clients import BadAnswer, Endpoint, Group, RequestRefused, RewardClient, Rollout
from ireasoner.clients.codec import decode_group
from ireasoner.clients.exchange import chunks
from ireasoner.clients.score import main
from tests.clients.answers import right_answer
from tests.clients.lying_server import LyingServer, response
from tests.clients.test_contract import CLIENTS, Call
from tests.reward_server.requests import Json, rollout

NOT_PAID = {"rewarded": False, "reward": None, "outcome": None, "trajectory": None}


def sent() -> list[Json]:
    rollouts = [
        {"id": "0", "text": rollout("left"), "view": "mirrored", "answer_in_view": "right"},
        {"id": "1", "text": rollout("right"), "signals": {"mean_token_entropy": 2.5, "judge": 0}},
        {"id": "2", "answer": "left", "steps": ["east"], "rewarded": False},
        {"id": "3", "text": "nothing", "signals": {"mean_token_entropy": 0.5, "judge": 1}, "rewarded": True},
    ]
    return [
        {"id": "g", "rollouts": rollouts, "voters": "h"},
        {"id": "h", "rollouts": rollouts, "voters": "g"},
    ]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (sent(), r"groups\[0\]: expected ireasoner.clients.Group, not dict"),
        (Group("g", [Rollout("0", text="7")]), "groups: expected a list of Group, not Group"),
        ("g", "groups: expected a list of Group, not str"),
    ],
)
def test_what_is_no_list_of_groups_is_refused_before_it_is_sent(groups: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        RewardClient("http://127.0.0.1:1").score("outcome", groups)


@CLIENTS
@pytest.mark.parametrize("preset", ["self-certainty", "entropy-minimisation", "sequence-probability"])
def test_a_rollout_with_neither_answer_nor_signal_abstains(call: Call, compass_url: str, preset: str) -> None:
    [group] = call(compass_url, "outcome", [Group("g", [Rollout("0", text="nothing")])], preset).groups
    [found] = group.rollouts
    assert (found.status, found.answer, found.reward) == ("abstain", None, None)
    assert found.reason is not None
    assert "is missing" in found.reason


@CLIENTS
@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "solver", "proposer"])
@pytest.mark.parametrize(
    "preset", ["paper", "ttrl", "views", "co-rewarding", "judge-bounded", "entropy-minimisation"]
)
def test_every_field_arrives(call: Call, compass_url: str, endpoint: Endpoint, preset: str) -> None:
    """What the client sends means what the same JSON means, and all of the response can be read."""
    groups = sent()
    found = call(compass_url, endpoint, [decode_group(group) for group in groups], preset)
    raw = httpx.post(f"{compass_url}/score/{endpoint}", json={"groups": groups, "config": preset}).json()
    assert found.fingerprint == raw["fingerprint"]
    for group, shown in zip(found.groups, raw["groups"], strict=True):
        for each, expected in zip(group.rollouts, shown.get("rollouts", ()), strict=True):
            written = asdict(each)
            assert written == {"rewarded": True, "components": {}, **expected, "steps": written["steps"]}


@CLIENTS
def test_the_attributes_of_a_response(call: Call, compass_url: str) -> None:
    [group, _] = call(
        compass_url, "outcome", [decode_group(each) for each in sent()], "entropy-minimisation"
    ).groups
    one, two, three, four = group.rollouts
    assert (one.status, one.reason) == ("abstain", "the signal 'mean_token_entropy' is missing")
    assert (two.reward, two.components) == (-2.5, {"mean_token_entropy": 2.5})
    assert (three.status, three.rewarded, three.reward) == ("ok", False, None)
    assert (four.status, four.answer, four.reward) == ("ok", None, -0.5)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "view": 7}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "answer_in_view": 7}]},
        {"id": "g", "rollouts": [{"id": "0", "answer": "a", "answer_in_view": "b"}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "rewarded": None}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "rewarded": "no"}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "signals": [1]}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "signals": {"a": "1"}}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "signals": {"a": True}}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a", "signals": {"a": float("nan")}}]},
        {"id": "g", "rollouts": [{"id": "0", "text": "a"}], "voters": 7},
    ],
    ids=str,
)
def test_a_malformed_group_is_refused_before_it_is_sent(body: Json) -> None:
    with pytest.raises(ValueError, match=r"rollouts\[0\]|voters|rollout '0'"):
        decode_group(body)


def test_unknown_voters_are_refused_by_path(compass_url: str) -> None:
    with RewardClient(compass_url) as client, pytest.raises(RequestRefused) as refused:
        client.score("outcome", [Group("g", [Rollout("0", "a")], voters="x")])
    assert [fault.place for fault in refused.value.faults] == ["groups[0].voters"]


GROUPS = [
    Group(
        "g",
        [
            Rollout("paid", "text"),
            Rollout("votes", "text", rewarded=False),
            Rollout("signal", "text", signals={"judge": 1.0}),
        ],
    )
]


def answered(**changes: Json) -> bytes:
    """The right answer to `GROUPS`, with these fields of its rollouts."""
    answer = right_answer({"groups": [{"id": "g", "rollouts": [{"id": r.id} for r in GROUPS[0].rollouts]}]})
    rollouts = answer["groups"][0]["rollouts"]
    rollouts[1].update(NOT_PAID)
    for each in rollouts:
        each.update(changes.get(each["id"], {}))
    return json.dumps(answer).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"signal": {"reward": -7.5, "outcome": -7.5, "trajectory": None}},
        {"signal": {"reward": 12.0, "outcome": 12.0, "trajectory": None, "answer": None}},
        {"votes": {"status": "invalid", "reason": "no answer", "answer": None}},
        {"paid": {"components": {"consensus": 0.5, "length": 1}}},
        {"paid": {"rewarded": True}},
    ],
    ids=str,
)
def test_right_answers_are_read(liar: LyingServer, changes: dict[str, Any]) -> None:
    liar.reply = lambda *_: [response(answered(**changes))]
    with RewardClient(liar.url, retry_budget_s=0.0) as client:
        assert len(client.score("solver", GROUPS).groups[0].rollouts) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"paid": {"reward": -0.5, "outcome": -0.5}},
        {"paid": {"reward": 1.5, "outcome": 1.5}},
        {"paid": {"answer": None}},
        {"paid": NOT_PAID},
        {"paid": {"reward": None}},
        {"paid": {"components": {"consensus": None}}},
        {"paid": {"components": {"consensus": "1"}}},
        {"paid": {"components": [1]}},
        {"votes": {"rewarded": True}},
        {"votes": {"reward": 0.0}},
        {"votes": {"outcome": 0.5}},
        {"votes": {"status": "abstain", "reason": "no embedding"}},
        {"votes": {"rewarded": None}},
        {"signal": {"reward": 2.0, "outcome": 0.5}},
        {"signal": {"reward": "1"}},
        {
            "signal": {
                "status": "invalid",
                "reason": "no answer",
                "answer": None,
                "reward": 2.0,
                "outcome": 2.0,
            }
        },
    ],
    ids=str,
)
def test_wrong_answers_are_refused(liar: LyingServer, changes: dict[str, Any]) -> None:
    liar.reply = lambda *_: [response(answered(**changes))]
    with RewardClient(liar.url, retry_budget_s=0.0) as client, pytest.raises(BadAnswer):
        client.score("solver", GROUPS)


@pytest.mark.parametrize(
    ("links", "size", "sizes"),
    [
        ([None] * 5, 2, [2, 2, 1]),
        (["b", None, "d", None, None], 1, [2, 2, 1]),
        ([None, "c", None, None, None], 2, [3, 2]),
        (["d", None, None, None, None], 2, [4, 1]),
        (["x", None, None, None, None], 2, [4, 1]),
        ([None, "a", None, None, None], 2, [2, 2, 1]),
    ],
)
def test_a_group_is_sent_with_the_voters_that_come_after_it(
    links: list[str | None], size: int, sizes: list[int]
) -> None:
    groups = [Group(name, [Rollout("0", "a")], voters=to) for name, to in zip("abcde", links, strict=True)]
    chunked = list(chunks(groups, size))
    assert [len(chunk) for chunk in chunked] == sizes
    assert [group for chunk in chunked for group in chunk] == groups


def test_the_command_writes_what_the_server_does(compass_url: str, tmp_path: Path) -> None:
    lines, output = tmp_path / "groups.jsonl", tmp_path / "scores.jsonl"
    lines.write_text("".join(json.dumps(group) + "\n" for group in sent()))
    options = ["--config", "co-rewarding", "--endpoint", "outcome", "--groups-per-request", "1"]
    assert main([str(lines), "--url", compass_url, "--output", str(output), *options]) == 0
    body = {"groups": sent(), "config": "co-rewarding"}
    raw = httpx.post(f"{compass_url}/score/outcome", json=body).json()
    shown = [json.loads(line) for line in output.read_text().splitlines()]
    assert shown == [{**each, "fingerprint": raw["fingerprint"]} for each in raw["groups"]]
