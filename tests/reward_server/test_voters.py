"""Whose votes judge a rollout: views, other groups, and rollouts that only vote."""

import asyncio
from typing import Any

import httpx
import pytest

from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.ledger.record import figures
from ireasoner.reward_server.ledger.rescoring import rescored
from ireasoner.reward_server.scoring_config import PAPER
from tests.reward_server.methods import signalled, statuses, voting
from tests.reward_server.requests import Json, rewards, rollout, score

MAJORITY = {"preset": "ttrl"}
NONE = None


def scored(http: httpx.Client, config: object, *groups: Json, endpoint: str = "outcome") -> list[Json]:
    found: list[Json] = score(http, endpoint, *groups, config=config)["groups"]
    return found


def refused(http: httpx.Client, *groups: Json, config: object = "paper", endpoint: str = "outcome") -> Json:
    response = http.post(f"/score/{endpoint}", json={"groups": groups, "config": config})
    problem: Json = response.json()
    assert (response.status_code, problem["code"]) == (422, "malformed_request"), response.text
    return problem


# Views a a a b b c; answers 7 7 8 8 8 7.
VIEWS: list[Any] = ["a", "a", "a", "b", "b", "c"]
ANSWERS: list[Any] = [7, 7, 8, 8, 8, 7]


@pytest.mark.parametrize(
    ("votes", "outcome", "expected"),
    [
        # a: 7 has 2 of 3; b: 8 has 2 of 2; c: 7 has 1 of 1.
        ("own", "share", [2 / 3, 2 / 3, 1 / 3, 1, 1, 1]),
        ("own", "majority", [1, 1, 0, 1, 1, 1]),
        # 3 of 6 each.
        ("pooled", "share", [0.5] * 6),
        ("pooled", "majority", [0.5] * 6),
        # a is judged by 8 8 7; b by 7 7 8 7; c by 7 7 8 8 8.
        ("cross", "share", [1 / 3, 1 / 3, 2 / 3, 1 / 4, 1 / 4, 2 / 5]),
        ("cross", "majority", [0, 0, 1, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("endpoint", ["outcome", "solver"])
def test_votes_by_view(
    compass_http: httpx.Client, endpoint: str, votes: str, outcome: str, expected: list[float]
) -> None:
    config = {"preset": "empo", "votes": votes, "outcome": outcome}
    [group] = scored(compass_http, config, voting(ANSWERS, view=VIEWS), endpoint=endpoint)
    assert rewards(group) == pytest.approx(expected)
    # The group's own figures are those of all its rollouts.
    assert (group["dominant_share"], group["tie"]) == (0.5, True)


def test_views_pay_the_outcome_reward_by_the_votes_of_the_others(compass_http: httpx.Client) -> None:
    [group] = scored(compass_http, "views", voting(ANSWERS, view=VIEWS))
    assert rewards(group) == pytest.approx([each**0.7 for each in (1 / 3, 1 / 3, 2 / 3, 1 / 4, 1 / 4, 2 / 5)])


@pytest.mark.parametrize("view", [None, "only"])
def test_a_group_with_one_view_abstains_from_cross(compass_http: httpx.Client, view: str | None) -> None:
    [group] = scored(compass_http, "views", voting([7, 7, None], view=[view] * 3))
    assert statuses(group) == ["abstain", "abstain", "invalid"]
    assert group["rollouts"][0]["reason"] == "there is no rollout of another view"


def test_other_views_without_answers_judge_nothing(compass_http: httpx.Client) -> None:
    [group] = scored(compass_http, "views", voting([7, 8, None], view=["a", "a", "b"]))
    assert [each["reason"] for each in group["rollouts"]] == [
        *["no rollout of another view has an answer"] * 2,
        "there is no <answer>",
    ]


def test_rollouts_without_a_view_share_one(compass_http: httpx.Client) -> None:
    [group] = scored(compass_http, "views", voting([7, 7, 7], view=[None, None, "b"]))
    assert statuses(group) == ["ok"] * 3


def test_an_answer_that_no_other_view_gives_is_paid_nothing(compass_http: httpx.Client) -> None:
    [group] = scored(compass_http, "views", voting([7, 7, 8, 8], view=["a", "a", "b", "b"]))
    assert (rewards(group), statuses(group)) == ([0, 0, 0, 0], ["ok"] * 4)


def test_other_presets_judge_within_a_view_or_over_all(compass_http: httpx.Client) -> None:
    """With views sent, `own` is the rollout's view; without, it is the group."""
    with_views, without = voting(ANSWERS, view=VIEWS), voting(ANSWERS)
    pooled = {"preset": "paper", "votes": "pooled"}
    [whole] = scored(compass_http, "paper", without)
    assert rewards(scored(compass_http, pooled, with_views)[0]) == rewards(whole)
    assert rewards(scored(compass_http, "paper", with_views)[0]) != rewards(whole)


# The example of Co-rewarding: original 7 7 9 7, paraphrase 9 9 7 9.
@pytest.mark.parametrize("endpoint", ["outcome", "solver"])
def test_two_groups_judge_each_other(compass_http: httpx.Client, endpoint: str) -> None:
    groups = voting([7, 7, 9, 7], "o", voters="p"), voting([9, 9, 7, 9], "p", voters="o")
    for order in (groups, groups[::-1]):
        found = scored(compass_http, "co-rewarding", *order, endpoint=endpoint)
        assert [rewards(each) for each in found] == [[0, 0, 1, 0]] * 2
    assert [each["dominant_answer"] for each in found] == ["9", "7"], (
        "the figures are those of the group itself"
    )


def test_a_teacher_judges_and_is_not_paid(compass_http: httpx.Client) -> None:
    teacher = voting([9, 9, 7, 9, None], "teacher", rewarded=[False] * 5)
    policy = voting([7, 7, 9, 7], "policy", voters="teacher")
    judged, judging = scored(compass_http, "co-rewarding", policy, teacher)
    assert rewards(judged) == [0, 0, 1, 0]
    assert statuses(judging) == ["ok"] * 4 + ["invalid"]
    assert all(each["rewarded"] is False and each["reward"] is None for each in judging["rollouts"])


@pytest.mark.parametrize(
    ("other", "expected", "reason"),
    [
        ([7], [1, 0], None),
        ([8, 9], [0, 0.5], None),
        ([3], [0, 0], None),
        ([7, None, None], [1, 0], None),
        ([None, None], [NONE, NONE], "no rollout of the group that judges has an answer"),
    ],
)
def test_what_another_group_can_say(
    compass_http: httpx.Client, other: list[Any], expected: list[Any], reason: str | None
) -> None:
    judged, _ = scored(compass_http, "co-rewarding", voting([7, 9], "g", voters="h"), voting(other, "h"))
    assert rewards(judged) == expected
    assert judged["rollouts"][0]["reason"] == reason


def test_a_config_for_another_group_abstains_without_one(compass_http: httpx.Client) -> None:
    [group] = scored(compass_http, "co-rewarding", voting([7, 7, None]))
    assert statuses(group) == ["abstain", "abstain", "invalid"]
    assert "names none in `voters`" in group["rollouts"][0]["reason"]


def test_any_config_takes_the_votes_of_another_group(compass_http: httpx.Client) -> None:
    groups = voting([7, 8], "g", voters="h"), voting([8, 8, 8, 7], "h")
    assert rewards(scored(compass_http, "empo", *groups)[0]) == [0.25, 0.75]
    with_views = (
        voting([7, 8], "g", voters="h", view=["a", "b"]),
        voting([8, 7, 9], "h", view=["a", "b", "b"]),
    )
    assert rewards(scored(compass_http, {"preset": "empo", "votes": "own"}, *with_views)[0]) == [0, 0]
    assert rewards(scored(compass_http, {"preset": "empo", "votes": "cross"}, *with_views)[0]) == [0.5, 1]
    assert rewards(
        scored(compass_http, {"preset": "empo", "votes": "pooled"}, *with_views)[0]
    ) == pytest.approx([1 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("mine", "theirs", "equivalence", "expected"),
    [
        (["1/2", "2"], ["0.5", "0.50"], "value", [1, 0]),
        (["1/2", "2"], ["0.5", "0.50"], "text", [0, 0]),
        (["seven"], ["7", "7.0"], "value", [1]),
        (["2x+1", "2"], ["1+2x"], "value", [1, 0]),
        (["(b)", "A"], ["B. red", "B"], "value", [1, 0]),
        (["-5", "5"], ["5"], "value", [0, 1]),
    ],
)
def test_answers_of_two_groups_are_compared_as_those_of_one(
    compass_http: httpx.Client, mine: list[Any], theirs: list[Any], equivalence: str, expected: list[float]
) -> None:
    config = {"preset": "co-rewarding", "equivalence": equivalence}
    assert (
        rewards(scored(compass_http, config, voting(mine, "g", voters="h"), voting(theirs, "h"))[0])
        == expected
    )


@pytest.mark.parametrize(
    ("links", "at", "reason"),
    [
        ({"a": "z"}, 0, "there is no group 'z' in this request"),
        ({"a": "A"}, 0, "there is no group 'A' in this request"),
        ({"a": "a"}, 0, "cannot be its own voters"),
        ({"a": "b", "b": "b"}, 1, "cannot be its own voters"),
        ({"a": "b", "b": "c", "c": "a"}, 0, "a circle of 3 groups"),
        ({"a": "b", "b": "c", "c": "d", "d": "b"}, 0, "a circle of 3 groups"),
        ({"a": "b", "b": "c", "c": "d", "d": "a"}, 0, "a circle of 4 groups"),
        ({"b": "c", "c": "d", "d": "b"}, 1, "a circle of 3 groups"),
        ({"a": "b", "b": "a", "c": "z"}, 2, "there is no group"),
    ],
)
@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "solver", "proposer"])
def test_voters_that_cannot_be(
    compass_http: httpx.Client, endpoint: str, links: dict[str, str], at: int, reason: str
) -> None:
    groups = [voting([7], name, voters=links.get(name)) for name in "abcd"]
    problem = refused(compass_http, *groups, endpoint=endpoint)
    [fault] = problem["errors"]
    assert fault["place"] == f"groups[{at}].voters"
    assert reason in fault["reason"]


@pytest.mark.parametrize(
    "links",
    [
        {"a": "b", "b": "a"},
        {"a": "b", "b": "a", "c": "d", "d": "c"},
        {"a": "b", "b": "c", "c": "d"},
        {"a": "d", "b": "d", "c": "d"},
        {"a": "b", "b": "a", "c": "a", "d": "c"},
    ],
)
def test_voters_that_can_be(compass_http: httpx.Client, links: dict[str, str]) -> None:
    groups = [voting([7], name, voters=links.get(name)) for name in "abcd"]
    assert [rewards(each) for each in scored(compass_http, MAJORITY, *groups)] == [[1]] * 4


def test_votes_do_not_pass_through_a_group(compass_http: httpx.Client) -> None:
    """a is judged by b's own answers, whoever judges b."""
    groups = voting([7], "a", voters="b"), voting([7, 7], "b", voters="c"), voting([8], "c")
    assert [rewards(each) for each in scored(compass_http, MAJORITY, *groups)] == [[1], [0, 0], [1]]


@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "solver"])
@pytest.mark.parametrize("preset", ["paper", "robust", "ttrl"])
def test_rollouts_that_only_vote(compass_http: httpx.Client, preset: str, endpoint: str) -> None:
    """They count as others do, and their null is no abstention."""
    texts = [rollout("7", "east", "north"), rollout("7", "east"), rollout("8", "south"), rollout(None)]
    sent = [{"id": str(index), "text": text} for index, text in enumerate(texts)]
    paid: Json = {"id": "g", "rollouts": sent}
    voting_only: Json = {"id": "g", "rollouts": [{**each, "rewarded": each["id"] in "01"} for each in sent]}
    [before] = scored(compass_http, preset, paid, endpoint=endpoint)
    [after] = scored(compass_http, preset, voting_only, endpoint=endpoint)
    assert after["rollouts"][:2] == before["rollouts"][:2]
    for each, all_paid in zip(after["rollouts"][2:], before["rollouts"][2:], strict=True):
        assert [each[name] for name in ("reward", "outcome", "trajectory")] == [None] * 3
        assert each["rewarded"] is False
        assert each["status"] == all_paid["status"] != "abstain"
        assert "components" not in each
    assert {**after, "rollouts": []} == {**before, "rollouts": []}


def test_a_voter_without_a_signal_does_not_abstain(compass_http: httpx.Client) -> None:
    sent = signalled("judge", [0.5, None])
    sent["rollouts"][1]["rewarded"] = False
    [group] = scored(compass_http, "judge-bounded", sent)
    assert statuses(group) == ["ok", "ok"]
    assert rewards(group)[0] == pytest.approx(0.9762, abs=1e-4)
    assert group["rollouts"][1]["reward"] is None


def mapped(answer: str, back: str | None) -> Json:
    return {"text": rollout(answer, "east"), **({} if back is None else {"answer_in_view": back})}


def test_the_mapped_answer_votes(compass_http: httpx.Client) -> None:
    rollouts = [mapped("left", None), mapped("right", "left"), mapped("left", "right"), mapped("5", "5.")]
    group = {"id": "g", "rollouts": [{"id": str(i), **each} for i, each in enumerate(rollouts)]}
    [found] = scored(compass_http, {"preset": "empo", "equivalence": "text"}, group)
    assert [each["answer"] for each in found["rollouts"]] == ["left", "left", "right", "5"]
    assert rewards(found) == [0.5, 0.5, 0.25, 0.25]
    assert found["dominant_answer"] == "left"
    assert found["rollouts"][0]["steps"] == found["rollouts"][1]["steps"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("<think>a</think>", "invalid"),
        ("<think>a</think><answer></answer>", "invalid"),
        ("<think>a</think><answer>7", "invalid"),
        ("<think>a</think><answer>7</answer>", "ok"),
    ],
)
def test_a_text_without_an_answer_gets_none_by_mapping(
    compass_http: httpx.Client, text: str, status: str
) -> None:
    group = {"id": "g", "rollouts": [{"id": "0", "text": text, "answer_in_view": "9"}]}
    [found] = scored(compass_http, "paper", group)
    assert statuses(found) == [status]
    assert found["rollouts"][0]["answer"] == ("9" if status == "ok" else None)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"signals": {"judge": "0.5"}}, "signals.judge"),
        ({"signals": {"judge": None}}, "signals.judge"),
        ({"signals": {"judge": True}}, "signals.judge"),
        ({"signals": {"judge": 2e9}}, "signals.judge"),
        ({"signals": {"judge": -2e9}}, "signals.judge"),
        ({"signals": {"Judge": 1}}, "signals.Judge"),
        ({"signals": {"": 1}}, "signals"),
        ({"signals": {"a b": 1}}, "signals.a b"),
        ({"signals": {"a" * 65: 1}}, "signals"),
        ({"signals": {f"s{n}": 1 for n in range(17)}}, "signals"),
        ({"signals": [1]}, "signals"),
        ({"signals": 7}, "signals"),
        ({"view": ""}, "view"),
        ({"view": 7}, "view"),
        ({"view": "a" * 257}, "view"),
        ({"rewarded": None}, "rewarded"),
        ({"rewarded": 0}, "rewarded"),
        ({"rewarded": "no"}, "rewarded"),
        ({"answer_in_view": ""}, "answer_in_view"),
        ({"answer_in_view": 7}, "answer_in_view"),
        ({"text": None, "answer": "7", "answer_in_view": "8"}, ""),
    ],
    ids=str,
)
def test_fields_that_cannot_be(compass_http: httpx.Client, fields: Json, place: str) -> None:
    group = {"id": "g", "rollouts": [{"id": "0", "text": rollout("7"), **fields}]}
    problem = refused(compass_http, group)
    assert problem["errors"][0]["place"].startswith(f"groups[0].rollouts[0].{place}".rstrip("."))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_signals_are_finite(compass_http: httpx.Client, number: str) -> None:
    body = f'{{"groups":[{{"id":"g","rollouts":[{{"id":"0","text":"a","signals":{{"judge":{number}}}}}]}}]}}'
    response = compass_http.post("/score/outcome", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422, response.text


@pytest.mark.parametrize(
    "fields",
    [
        {"signals": {"judge": 0, "a": -1e9, "a_1": 1e9}},
        {"signals": {}},
        {"signals": None, "view": None, "answer_in_view": None},
        {"view": "gespiegelt ↔"},
        {"rewarded": True},
    ],
    ids=str,
)
def test_fields_that_can_be(compass_http: httpx.Client, fields: Json) -> None:
    group = {"id": "g", "rollouts": [{"id": "0", "text": rollout("7"), **fields}]}
    assert rewards(scored(compass_http, "paper", group)[0]) == [1]


def test_a_stored_group_that_others_judge_is_not_scored_alone() -> None:
    """Its voters are another record; without them its reward would mean something else."""
    stored = {"sent": voting([7], voters="h"), "endpoint": "outcome", "progress": 1.0}
    unused: Any = None
    with pytest.raises(MalformedRequest, match="stored apart"):
        asyncio.run(rescored(unused, unused, stored, unused, unused))


def test_the_ledger_counts_no_abstention_where_a_rollout_only_votes(compass_http: httpx.Client) -> None:
    sent = voting([7, 7, 8], rewarded=[True, False, False])
    [group] = scored(compass_http, "paper", sent)
    kept = figures(sent, group, PAPER)
    assert (kept.rollouts, kept.abstained, kept.invalid) == (3, 0, 0)
    assert kept.reward == pytest.approx(group["rollouts"][0]["reward"])
    [unpaid] = scored(compass_http, "paper", voting([7], rewarded=[False]))
    assert figures(voting([7]), unpaid, PAPER).reward is None
