"""A wrong field is an error, never a reward: each client with a server that lies in one field."""

import json
import math
import re

import pytest

from ireasoner.clients import BadAnswer, NotReady
from tests.clients.answers import (
    GROUPS,
    ROLLOUT,
    Change,
    Json,
    put,
    right_answer,
    several,
    swapped,
    twice,
    without,
    written,
)
from tests.clients.lying_server import Call, LyingServer, refused, response

IN_ROLLOUT = r"groups\[1\] \(id 'q2'\)\.rollouts\[2\] \(id 'c'\)\."
NO_NUMBERS = (math.nan, math.inf, -math.inf, "0.625", "", True, False, [0.625], {"reward": 0.625}, 10**400)
OUT_OF_RANGE = (-0.5, -1e-6, 1.5, 1 + 1e-6, 1e308, 62)

STEP: Json = {"text": "3 + 4 = 7.", "cosine": 0.5, "weight": 1.0}
CLUSTER = ("groups", 0, "clusters", 0)
INVALID = several(
    put("invalid", *ROLLOUT, "status"), put("no answer", *ROLLOUT, "reason"), put(None, *ROLLOUT, "answer")
)
"""Says that a rollout is invalid, and leaves its reward as it is."""

FIELDS: list[tuple[str, Change, str]] = [
    *((f"reward {value!r:.20}", put(value, *ROLLOUT, "reward"), IN_ROLLOUT + "reward is ") for value in NO_NUMBERS),
    *((f"reward {value!r}", put(value, *ROLLOUT, "reward"), IN_ROLLOUT + "reward is ") for value in OUT_OF_RANGE),
    *((f"outcome {value!r:.20}", put(value, *ROLLOUT, "outcome"), "outcome is ") for value in NO_NUMBERS),
    *((f"density {value!r:.20}", put(value, "groups", 0, "density"), "density is ") for value in NO_NUMBERS),
    ("reward null", put(None, *ROLLOUT, "reward"), IN_ROLLOUT + "reward is None, but the status is ok"),
    ("no reward", without(*ROLLOUT, "reward"), IN_ROLLOUT + "reward is missing"),
    ("reward beside its parts", put(0.9, *ROLLOUT, "reward"), IN_ROLLOUT + "reward is 0.9, which its parts exclude"),
    ("no outcome", without(*ROLLOUT, "outcome"), "outcome is missing"),
    ("no trajectory", without(*ROLLOUT, "trajectory"), "trajectory is missing"),
    ("trajectory -1", put(-1, *ROLLOUT, "trajectory"), "trajectory is -1"),
    ("rollouts swapped", swapped("groups", 0, "rollouts"), r"rollouts\[0\] \(id 'a'\)\.id is 'b', but 'a' was sent"),
    ("groups swapped", swapped("groups"), r"groups\[0\] \(id 'q1'\)\.id is 'q2', but 'q1' was sent"),
    ("rollouts of other groups", put([{"id": "x"}] * 3, "groups", 1, "rollouts"), "id is 'x', but 'a' was sent"),
    ("foreign rollout", put("d", *ROLLOUT, "id"), IN_ROLLOUT + "id is 'd'"),
    ("foreign group", put("q3", "groups", 1, "id"), r"groups\[1\] \(id 'q2'\)\.id is 'q3'"),
    ("id in other case", put("Q1", "groups", 0, "id"), "id is 'Q1'"),
    ("id with a space", put("q1 ", "groups", 0, "id"), "id is 'q1 '"),
    ("one id twice", put("a", *ROLLOUT, "id"), IN_ROLLOUT + "id is 'a'"),
    ("id a number", put(2, *ROLLOUT, "id"), IN_ROLLOUT + "id is 2, not a string"),
    ("id null", put(None, "groups", 0, "id"), "id is None"),
    ("no id", without(*ROLLOUT, "id"), IN_ROLLOUT + "id is missing"),
    ("more groups", twice("groups"), "groups has 3 items, but 2 were expected"),
    ("fewer groups", without("groups", 1), "groups has 1 items, but 2 were expected"),
    ("no groups", put([], "groups"), "groups has 0 items"),
    ("more rollouts", twice("groups", 1, "rollouts"), "rollouts has 4 items, but 3 were expected"),
    ("fewer rollouts", without("groups", 1, "rollouts", 0), "rollouts has 2 items"),
    ("no rollouts", put([], "groups", 1, "rollouts"), "rollouts has 0 items"),
    ("rollouts left out", without("groups", 1, "rollouts"), "rollouts is missing"),
    ("rollouts null", put(None, "groups", 1, "rollouts"), "rollouts is None, not a list"),
    ("rollouts by id", put({"a": 0.5, "b": 0.5, "c": 0.5}, "groups", 1, "rollouts"), "not a list"),
    ("rollouts numbers", put([0.5, 0.5, 0.5], "groups", 1, "rollouts"), "is 0.5, not an object"),
    ("rollouts a string", put("abc", "groups", 1, "rollouts"), "is 'abc', not a list"),
    ("group a list", put([], "groups", 1), r"groups\[1\] \(id 'q2'\) is \[\], not an object"),
    ("groups an object", put({}, "groups"), "groups is {}, not a list"),
    ("groups null", put(None, "groups"), "groups is None"),
    ("no groups field", without("groups"), "groups is missing"),
    *(
        (f"status {value!r}", put(value, *ROLLOUT, "status"), IN_ROLLOUT + "status is ")
        for value in ("OK", "", "fine", "error", "Abstain", None, 0, True, ["ok"], {"ok": 1})
    ),
    *(
        (f"group {value!r}", put(value, "groups", 0, "status"), r"\(id 'q1'\)\.status is ")
        for value in ("OK", "abstain", None, 1, ["ok"])
    ),
    ("no status", without(*ROLLOUT, "status"), "status is missing"),
    (
        "abstained with a reward",
        several(put("abstain", *ROLLOUT, "status"), put("no embedding", *ROLLOUT, "reason")),
        "reward is 0.625, but the status is abstain",
    ),
    ("invalid with a reward", INVALID, IN_ROLLOUT + "reward is 0.625, but the status is invalid: it must be 0"),
    ("invalid without a reward", several(INVALID, put(None, *ROLLOUT, "reward")), "the status is invalid"),
    ("invalid with an answer", several(INVALID, put("7", *ROLLOUT, "answer")), "answer is '7', but the status"),
    ("ok without an answer", put(None, *ROLLOUT, "answer"), "answer is None, but the status is ok"),
    ("ok with a reason", put("bad", *ROLLOUT, "reason"), "reason is 'bad', but the status is ok"),
    ("answer a number", put(7, *ROLLOUT, "answer"), "answer is 7, not a string"),
    ("half a character", put("7\ud800", *ROLLOUT, "answer"), "half of a surrogate pair"),
    ("group without a valid answer", put("invalid", "groups", 0, "status"), "but the status is invalid"),
    ("dominant answer null", put(None, "groups", 0, "dominant_answer"), "dominant_answer is None, but"),
    ("entropy null", put(None, "groups", 0, "entropy_nats"), "entropy_nats is None"),
    ("entropy -1", put(-1, "groups", 0, "entropy_nats"), "entropy_nats is -1, not a number of at least 0"),
    ("entropy infinite", put(math.inf, "groups", 0, "entropy_nats"), "entropy_nats is inf"),
    ("density 2", put(2, "groups", 0, "density"), "density is 2"),
    ("tie 0", put(0, "groups", 0, "tie"), "tie is 0, not true or false"),
    ("tie null", put(None, "groups", 0, "tie"), "tie is None"),
    ("proposer's reward 7", put(7, "groups", 0, "proposer_reward"), "proposer_reward is 7"),
    ("clusters left out", without("groups", 0, "clusters"), "clusters is missing"),
    ("count 0", put(0, *CLUSTER, "count"), "count is 0"),
    ("count 1.5", put(1.5, *CLUSTER, "count"), "count is 1.5"),
    ("count true", put(True, *CLUSTER, "count"), "count is True"),
    ("members null", put(None, *CLUSTER, "members"), "members is None"),
    ("no rules", put([{"answer": "7", "count": 1}], *CLUSTER, "members"), "rules is missing"),
    ("not_compared a string", put("no", "groups", 0, "not_compared"), "not_compared is 'no', not a list"),
    ("not_compared of numbers", put([7], "groups", 0, "not_compared"), r"not_compared\[0\] is 7"),
    ("steps left out", without(*ROLLOUT, "steps"), "steps is missing"),
    ("steps null", put(None, *ROLLOUT, "steps"), "steps is None"),
    ("steps texts", put(["3 + 4 = 7."], *ROLLOUT, "steps"), r"steps\[0\] is '3 \+ 4 = 7.', not an object"),
    ("cosine 2", put(2, *ROLLOUT, "steps", 0, "cosine"), r"steps\[0\]\.cosine is 2, not a number from -1 to 1"),
    ("weight null", put(None, *ROLLOUT, "steps", 0, "weight"), "weight is None"),
    ("weight NaN", put(math.nan, *ROLLOUT, "steps", 0, "weight"), "weight is nan"),
    ("credit alone", put({**STEP, "credit": 0.5}, *ROLLOUT, "steps", 0), "place is missing"),
    ("place -1", put({**STEP, "credit": 0.5, "place": -1}, *ROLLOUT, "steps", 0), "place is -1"),
    ("step without a text", without(*ROLLOUT, "steps", 0, "text"), "text is missing"),
    ("no fingerprint", without("fingerprint"), "fingerprint is missing"),
    ("fingerprint null", put(None, "fingerprint"), "fingerprint is None"),
    ("fingerprint empty", put("", "fingerprint"), "fingerprint is empty"),
    ("fingerprint a number", put(7, "fingerprint"), "fingerprint is 7"),
    ("no request id", without("request_id"), "request_id is missing"),
    ("a long value", put("x" * 1_000_000, *ROLLOUT, "status"), r"status is 'x+\.\.\.x+', not one of"),
    ("a bare list", lambda answer: answer["groups"], r"the whole is \[.*, not an object"),
    ("a list of answers", lambda answer: [answer], "not an object"),
    ("an answer in an answer", lambda answer: {"result": answer}, "fingerprint is missing"),
    ("a string", json.dumps, "not an object"),
    ("a number", lambda _: 0.5, "the whole is 0.5"),
    ("true", lambda _: True, "the whole is True"),
    ("an empty object", lambda _: {}, "fingerprint is missing"),
    ("a problem", lambda _: {"status": 500, "code": "internal_error"}, "fingerprint is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "shown"), [each[1:] for each in FIELDS], ids=[each[0] for each in FIELDS])
def test_a_wrong_field_is_refused_and_named(
    call: Call, liar: LyingServer, change: Change, shown: str
) -> None:
    liar.reply = lambda _, sent: [response(written(change, sent))]
    assert re.search(shown, refused(call, liar))


@pytest.mark.parametrize(
    ("endpoint", "of"),
    [
        (endpoint, of)
        for endpoint in ("solver", "outcome", "trajectory", "proposer")
        for of in ("solver", "outcome", "trajectory", "proposer")
        # The parts of a solver's answer may be unknown, so one whose reward is its only part is right.
        if endpoint != "solver" or of in ("solver", "proposer")
    ],
)
def test_an_answer_of_another_endpoint_is_refused(
    call: Call, liar: LyingServer, endpoint: str, of: str
) -> None:
    liar.reply = lambda _, sent: [response(json.dumps(right_answer(sent, of)).encode())]
    if endpoint == of:
        assert len(call("score", endpoint, GROUPS).groups) == 2
        return
    with pytest.raises(BadAnswer, match=rf"/score/{endpoint}: groups\[0\] \(id 'q1'\)\.rollouts"):
        call("score", endpoint, GROUPS)


@pytest.mark.parametrize("value", [None, math.nan, "0.5", True, -1])
def test_a_proposer_without_a_reward_is_refused(call: Call, liar: LyingServer, value: object) -> None:
    change = put(value, "groups", 1, "proposer_reward")

    def lie(_: str, sent: Json) -> list[bytes]:
        answer = right_answer(sent, "proposer")
        change(answer)
        return [response(json.dumps(answer).encode())]

    liar.reply = lie
    with pytest.raises(BadAnswer, match=r"groups\[1\] \(id 'q2'\)\.proposer_reward is"):
        call("score", "proposer", GROUPS)


@pytest.mark.parametrize(
    "body", [b"<html>", b"", b"{}", b'{"ready": false}', b'{"ready": "true"}', b'{"ready": 1}']
)
def test_a_page_is_not_readiness(call: Call, liar: LyingServer, body: bytes) -> None:
    liar.reply = lambda *_: [response(body)]
    with pytest.raises(NotReady, match="/readyz"):
        call("wait_until_ready", 0.1)
    liar.reply = lambda *_: [response(b'{"ready": true}')]
    call("wait_until_ready", 20)
