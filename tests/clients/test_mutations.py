"""Any change to a right answer either leaves what is read as it was, or is an error. hypothesis makes the changes."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ireasoner.clients import Group, Rollout
from ireasoner.clients.codec import encode_request
from ireasoner.clients.fields import WrongField
from ireasoner.clients.response import decode_cohort_answer, decode_response
from ireasoner.clients.wire import Config, Detail, Endpoint, ScoreRequest, ScoreResponse
from tests.clients.answers import at
from tests.examples import examples
from tests.reward_server.requests import rollout

GROUPS = [
    Group(
        "q1",
        [
            Rollout("a", rollout("1/2", "east", "north")),
            Rollout("b", rollout("0.5", "north", "west")),
            Rollout("c", "no answer"),
        ],
    ),
    Group("q2", [Rollout("a", answer="8", steps=["east"]), Rollout("b", answer="9", steps=[])]),
    Group("q3", [Rollout("a", "nothing")]),
]
ASKED: list[tuple[Endpoint, Config, Detail]] = [
    ("solver", "paper", "full"),
    ("solver", "robust", "full"),
    ("outcome", "paper", "rewards"),
    ("trajectory", {"preset": "robust", "equivalence": "text"}, "full"),
    ("proposer", "robust", "full"),
]
REQUESTS = [ScoreRequest(endpoint, GROUPS, config, None, detail) for endpoint, config, detail in ASKED]

Path = tuple[str | int, ...]
PEOPLES = {"clusters", "members", "steps", "not_compared", "outcome", "trajectory", "request_id"}
"""Fields that explain a reward to people. The API lets some of them be null or missing; no reward depends on them."""

NO_VALUES = [[], {}, [0.5], {"a": 1}, math.nan, math.inf, -math.inf, -1, -0.25, 10**400]
WRONG: dict[type, list[Any]] = {
    str: [None, True, 7, *NO_VALUES],
    float: ["0.5", "", True, False, *NO_VALUES],
    bool: [None, 0, 1, "false", *NO_VALUES],
    type(None): [False, 0, 0.5, "0.5", *NO_VALUES],
    list: [None, 0, "", {}, {"0": 1}, "abc", False],
    dict: [None, 0, "", [], "abc", True, [{}]],
}
"""Values that no field of the type can have; for an id any other string is wrong, too."""


@pytest.fixture(scope="module")
def answers(compass_url: str) -> list[bytes]:
    """The real server's answers to `REQUESTS`."""
    with httpx.Client(base_url=compass_url, headers={"content-type": "application/json"}) as http:
        return [
            http.post(f"/score/{each.endpoint}", content=encode_request(each)).content for each in REQUESTS
        ]


def essence(response: ScoreResponse, endpoint: Endpoint) -> Any:
    """All that a training could depend on."""
    groups = [
        (
            group.id,
            (group.status, group.dominant_answer, group.tie, group.dominant_share, group.density),
            group.entropy_nats,
            group.proposer_reward if endpoint == "proposer" else None,
            [(each.id, each.status, each.reason, each.answer, each.reward) for each in group.rollouts],
        )
        for group in response.groups
    ]
    return response.fingerprint, groups


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every value in an answer that is not for people alone."""
    yield path
    parts: Any = ()
    if isinstance(value, dict):
        parts = [(name, each) for name, each in value.items() if name not in PEOPLES]
    elif isinstance(value, list):
        parts = enumerate(value)
    for name, each in parts:
        yield from paths(each, (*path, name))


def changed(answer: Any, data: st.DataObject) -> Any:
    """The answer with one change that makes it wrong, or one that means nothing."""
    answer = deepcopy(answer)
    path = data.draw(st.sampled_from(list(paths(answer))), label="path")
    value = at(answer, *path)
    holder: Any = at(answer, *path[:-1]) if path else None
    kinds = ["replace", "wrap"]
    kinds += ["delete", "rename"] if isinstance(holder, dict) else []
    kinds += ["drop", "repeat", "swap"] if isinstance(holder, list) else []
    kinds += ["add"] if isinstance(value, dict) else []
    kind = data.draw(st.sampled_from(kinds), label="kind")
    wrong = list(WRONG[type(value)])
    if path and path[-1] == "id":
        wrong += ["", "a" * 300, f"{value} ", "q9"]
    replacement = [value] if kind == "wrap" else data.draw(st.sampled_from(wrong), label="replacement")
    match kind:
        case "add":
            value[data.draw(st.text(max_size=3).map("new {}".format))] = replacement
        case "replace" | "wrap":
            if holder is None:
                return replacement
            holder[path[-1]] = replacement
        case "delete":
            del holder[path[-1]]
        case "rename":
            holder[f"{path[-1]}s"] = holder.pop(path[-1])
        case "drop":
            del holder[path[-1]]
        case "repeat":
            holder.append(deepcopy(value))
        case "swap":
            holder[0], holder[path[-1]] = holder[path[-1]], holder[0]
    return answer


@pytest.mark.parametrize("index", range(len(REQUESTS)), ids=[f"{e}-{c}-{d}" for e, c, d in ASKED])
def test_a_changed_answer_is_read_as_before_or_refused(answers: list[bytes], index: int) -> None:
    request = REQUESTS[index]
    right = essence(decode_response(answers[index], request), request.endpoint)

    @settings(max_examples=examples(80), deadline=None, database=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        wrong = json.dumps(changed(json.loads(answers[index]), data)).encode()
        try:
            read = decode_response(wrong, request)
        except WrongField:
            return
        assert essence(read, request.endpoint) == right

    check()


@pytest.mark.parametrize("index", range(2))
def test_every_prefix_of_an_answer_is_refused(answers: list[bytes], index: int) -> None:
    whole = answers[index]
    for end in range(0, len(whole), 3):
        with pytest.raises(WrongField):
            decode_response(whole[:end], REQUESTS[index])


def test_damaged_bytes_never_make_a_reward_that_is_none(answers: list[bytes]) -> None:
    """One digit for another makes another right answer; nothing makes one with other ids or impossible rewards."""

    @settings(max_examples=examples(150), deadline=None, database=None)
    @given(start=st.integers(0, len(answers[0])), length=st.integers(0, 8), by=st.binary(max_size=8))
    def check(start: int, length: int, by: bytes) -> None:
        damaged = answers[0][:start] + by + answers[0][start + length :]
        try:
            read = decode_response(damaged, REQUESTS[0])
        except WrongField:
            return
        ids = [(group.id, [each.id for each in group.rollouts]) for group in read.groups]
        assert ids == [(group.id, [each.id for each in group.rollouts]) for group in GROUPS]
        for each in (each for group in read.groups for each in group.rollouts):
            assert (each.reward is None) == (each.status == "abstain")
            assert each.reward is None or (type(each.reward) is float and -1e-6 <= each.reward <= 1 + 1e-6)

    check()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=examples(80), deadline=None, database=None)
@given(value=JSON, body=st.binary(max_size=40))
def test_any_other_json_and_any_bytes_are_refused(value: Any, body: bytes) -> None:
    for wrong in (json.dumps(value).encode(), body):
        with pytest.raises(WrongField):
            decode_response(wrong, REQUESTS[0])
        with pytest.raises(WrongField):
            decode_cohort_answer(wrong, 8)


COHORT: dict[str, Any] = {
    **dict.fromkeys(("reward", "outcome", "trajectory", "dominant_share"), 0.5),
    **dict.fromkeys(("tie", "abstained", "partial"), 0.0),
    **dict.fromkeys(("valid", "steps_judged"), 1.0),
    "group_size": 8.0,
}


def test_a_cohorts_answer_is_read() -> None:
    assert decode_cohort_answer(json.dumps({**COHORT, "new": "x"}).encode(), 8) == COHORT
    some = {**COHORT, "group_size": 5, "partial": 1}
    assert decode_cohort_answer(json.dumps(some).encode(), 8) == some


@pytest.mark.parametrize("name", COHORT)
def test_a_wrong_number_in_a_cohorts_answer_is_refused(name: str) -> None:
    without = {each: value for each, value in COHORT.items() if each != name}
    for wrong in [without, *({**COHORT, name: value} for value in [None, *WRONG[float], 9.0])]:
        with pytest.raises(WrongField, match=name):
            decode_cohort_answer(json.dumps(wrong).encode(), 8)


@pytest.mark.parametrize(
    "changes", [{"partial": 1.0}, {"group_size": 5.0}, {"group_size": 9.0, "partial": 1.0}]
)
def test_a_cohort_of_another_size_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(WrongField):
        decode_cohort_answer(json.dumps({**COHORT, **changes}).encode(), 8)
