"""Answers to scoring requests as a reward server writes them, without a reward server, and changes to them."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from ireasoner.clients import Group, Rollout

Json = dict[str, Any]
Change = Callable[[Json], Any]
"""Changes an answer, or returns another one."""

GROUPS = [Group(name, [Rollout(each, "text") for each in "abc"]) for name in ("q1", "q2")]
SENT: Json = {
    "groups": [{"id": each.id, "rollouts": [{"id": one.id} for one in each.rollouts]} for each in GROUPS]
}
"""`GROUPS` in the form of a request."""
ROLLOUT = ("groups", 1, "rollouts", 2)
"""The path of one rollout in an answer to `SENT`."""


def right_answer(sent: Mapping[str, Any], endpoint: str = "solver") -> Json:
    """The answer to the body of a scoring request: every rollout says 7, and has two thirds of the reward."""
    groups = [_group(group, endpoint, sent.get("detail", "full")) for group in sent["groups"]]
    return {"request_id": "r", "fingerprint": "0123456789abcdef", "groups": groups}


def _group(sent: Mapping[str, Any], endpoint: str, detail: str) -> Json:
    group: Json = {
        "id": sent["id"],
        "status": "ok",
        "dominant_answer": "7",
        "tie": False,
        "dominant_share": 1.0,
        "density": 1.0,
        "entropy_nats": 0.0,
        "proposer_reward": 0.25,
    }
    if detail == "full":
        group["clusters"] = [{"answer": "7", "count": len(sent["rollouts"])}]
    if endpoint != "proposer":
        group["rollouts"] = _rollouts(sent["rollouts"], endpoint, detail)
    return group


def _rollouts(sent: Sequence[Mapping[str, Any]], endpoint: str, detail: str) -> list[Json]:
    parts: Json = {"outcome": 0.75, "trajectory": 0.5}
    if endpoint != "solver":
        parts = {"outcome": None, "trajectory": None, endpoint: 0.625}
    steps: Json = (
        {"steps": [{"text": "3 + 4 = 7.", "cosine": 0.5, "weight": 1.0}]} if detail == "full" else {}
    )
    return [
        {"id": each["id"], "status": "ok", "reason": None, "answer": "7", "reward": 0.625, **parts, **steps}
        for each in sent
    ]


def at(answer: Any, *path: str | int) -> Any:
    for part in path:
        answer = answer[part]
    return answer


def put(value: object, *path: str | int) -> Change:
    def change(answer: Json) -> None:
        at(answer, *path[:-1])[path[-1]] = value

    return change


def without(*path: str | int) -> Change:
    def change(answer: Json) -> None:
        del at(answer, *path[:-1])[path[-1]]

    return change


def swapped(*path: str | int) -> Change:
    """The first two parts of a list in the other order."""

    def change(answer: Json) -> None:
        parts = at(answer, *path)
        parts[0], parts[1] = parts[1], parts[0]

    return change


def twice(*path: str | int) -> Change:
    """The first part of a list once more."""

    def change(answer: Json) -> None:
        at(answer, *path).append(deepcopy(at(answer, *path, 0)))

    return change


def several(*changes: Change) -> Change:
    def change(answer: Json) -> None:
        for each in changes:
            each(answer)

    return change


def written(change: Change, sent: Json) -> bytes:
    answer = right_answer(sent)
    other = change(answer)
    return json.dumps(answer if other is None else other).encode()
