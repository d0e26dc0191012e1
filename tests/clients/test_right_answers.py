"""Right answers are read, however unusual: the strict reading refuses nothing that the API allows."""

import json
import math

import pytest

from tests.clients.answers import (
    GROUPS,
    ROLLOUT,
    SENT,
    Change,
    Json,
    put,
    right_answer,
    several,
    written,
)
from tests.clients.lying_server import Call, LyingServer, response

RIGHT = json.dumps(right_answer(SENT))


def same(_: Json) -> None:
    pass


ABSTAINED = several(
    put("abstain", *ROLLOUT, "status"),
    put("no embedding", *ROLLOUT, "reason"),
    put(None, *ROLLOUT, "reward"),
    put(None, *ROLLOUT, "trajectory"),
)
INVALID = several(
    put("invalid", *ROLLOUT, "status"),
    put("no answer", *ROLLOUT, "reason"),
    *(put(0, *ROLLOUT, part) for part in ("reward", "outcome", "trajectory")),
    put(None, *ROLLOUT, "answer"),
)
ALL_INVALID = several(
    put("invalid", "groups", 0, "status"),
    put(None, "groups", 0, "dominant_answer"),
    put(None, "groups", 0, "entropy_nats"),
    put([], "groups", 0, "clusters"),
)

ACCEPTED: dict[str, tuple[Change, float | None]] = {
    "as it is": (same, 0.625),
    "the first part": (put(0.75, *ROLLOUT, "reward"), 0.75),
    "the second part": (put(0.5, *ROLLOUT, "reward"), 0.5),
    "a whole number": (
        several(*(put(1, *ROLLOUT, part) for part in ("reward", "outcome", "trajectory"))),
        1.0,
    ),
    "a rounding error": (
        several(*(put(1 + 2e-16, *ROLLOUT, part) for part in ("reward", "outcome", "trajectory"))),
        1 + 2e-16,
    ),
    "minus zero": (
        several(*(put(-0.0, *ROLLOUT, part) for part in ("reward", "outcome", "trajectory"))),
        0.0,
    ),
    "no trajectory yet": (several(put(None, *ROLLOUT, "trajectory"), put(0.75, *ROLLOUT, "reward")), 0.75),
    "abstained": (ABSTAINED, None),
    "abstained without an answer": (several(ABSTAINED, put(None, *ROLLOUT, "answer")), None),
    "invalid": (INVALID, 0.0),
    "all invalid": (ALL_INVALID, 0.625),
    "new fields": (
        several(
            put({"reward": math.nan}, "new"),
            put([1], "groups", 0, "new"),
            put("x", *ROLLOUT, "rewards"),
            put(None, *ROLLOUT, "steps", 0, "new"),
        ),
        0.625,
    ),
    "no steps": (put([], *ROLLOUT, "steps"), 0.625),
    "a step that was not compared": (put(None, *ROLLOUT, "steps", 0, "cosine"), 0.625),
    "explained steps": (
        several(put(0.5, *ROLLOUT, "steps", 0, "credit"), put(None, *ROLLOUT, "steps", 0, "place")),
        0.625,
    ),
    "members": (
        put([{"answer": "7.0", "count": 3, "rules": ["a"]}], "groups", 0, "clusters", 0, "members"),
        0.625,
    ),
    "not compared": (put(["x and y: too long"], "groups", 0, "not_compared"), 0.625),
    "a tie": (put(True, "groups", 0, "tie"), 0.625),
    "no reward for the proposer": (put(None, "groups", 0, "proposer_reward"), 0.625),
    "another alphabet": (put("\u4e03 \U0001f600", *ROLLOUT, "answer"), 0.625),
    "whole pairs of surrogates": (
        put("\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), *ROLLOUT, "answer"),
        0.625,
    ),
    "nested 50 deep": (put(json.loads("[" * 50 + "]" * 50), "new"), 0.625),
}


@pytest.mark.parametrize(("change", "reward"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_right_answer_is_read(call: Call, liar: LyingServer, change: Change, reward: float | None) -> None:
    liar.reply = lambda _, sent: [response(written(change, sent))]
    scored = call("score", "solver", GROUPS).groups
    assert [group.id for group in scored] == ["q1", "q2"]
    assert [[each.id for each in group.rollouts] for group in scored] == [["a", "b", "c"]] * 2
    assert scored[1].rollouts[2].reward == reward
    assert type(scored[1].rollouts[0].reward) is float


RESPONSES = {
    "with a charset": response(RIGHT.encode(), content_type="application/json; charset=utf-8"),
    "in capitals": response(RIGHT.encode(), content_type="Application/JSON"),
    "without a type": response(RIGHT.encode(), content_type=None),
    "identity": response(RIGHT.encode(), content_encoding="identity"),
    "version 2.0.0": response(RIGHT.encode(), x_wire_version="2.0.0"),
    "version 2.14.1": response(RIGHT.encode(), x_wire_version="2.14.1"),
    "without a length": response(RIGHT.encode(), content_length=None),
    "indented and sorted": response(json.dumps(json.loads(RIGHT), indent=8, sort_keys=True).encode()),
    "with white space": response(b"\n\t " + RIGHT.encode() + b" \r\n"),
    "after a promise": b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + response(RIGHT.encode()),
    "in chunks of a byte": response(b"", content_length=None, transfer_encoding="chunked")
    + b"".join(b"1\r\n%c\r\n" % byte for byte in RIGHT.encode())
    + b"0\r\n\r\n",
}


@pytest.mark.parametrize("reply", RESPONSES.values(), ids=RESPONSES)
def test_a_right_response_is_read(call: Call, liar: LyingServer, reply: bytes) -> None:
    liar.reply = lambda *_: [reply]
    assert call("score", "solver", GROUPS).groups[1].rollouts[2].reward == 0.625
