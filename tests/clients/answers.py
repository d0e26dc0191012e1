"""Right answers to scoring requests, as a reward server writes them, without a reward server."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]


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
