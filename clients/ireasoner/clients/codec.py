"""The bodies of requests, and groups in the form that they have in a request."""

import json
from collections.abc import Mapping
from typing import Any

from ireasoner.clients.wire import Group, Rollout, ScoreRequest


def encode_request(request: ScoreRequest) -> bytes:
    """The body of a scoring request; `progress`, in [0, 1], is left out if it is None.

    Raises ValueError if the config or progress holds NaN or infinity, which JSON cannot express.
    """
    config = request.config
    body: dict[str, object] = {
        "groups": [
            {"id": group.id, "rollouts": [_encode_rollout(rollout) for rollout in group.rollouts]}
            for group in request.groups
        ],
        "config": config if isinstance(config, str) else dict(config),
        "detail": request.detail,
    }
    if request.progress is not None:
        body["progress"] = request.progress
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def _encode_rollout(rollout: Rollout) -> dict[str, object]:
    body: dict[str, object] = {"id": rollout.id}
    if rollout.text is not None:
        body["text"] = rollout.text
    else:
        body |= {"answer": rollout.answer, "steps": list(rollout.steps or ())}
    if rollout.finish_reason is not None:
        body["finish_reason"] = rollout.finish_reason
    return body


def decode_group(body: Mapping[str, Any]) -> Group:
    """A group in the form of a request body; raises ValueError with the path and the reason if it is malformed."""
    if unknown := body.keys() - {"id", "rollouts"}:
        raise ValueError(f"unknown fields {sorted(unknown)}; a group has id and rollouts")
    group_id, rollouts = body.get("id"), body.get("rollouts")
    if not isinstance(group_id, str):
        raise ValueError("id is missing or is not a string")  # noqa: TRY004
    if not isinstance(rollouts, list) or not rollouts:
        raise ValueError("rollouts is missing, empty or not a list")
    for index, rollout in enumerate(rollouts):
        if not isinstance(rollout, dict) or not isinstance(rollout.get("id"), str):
            raise ValueError(f"rollouts[{index}] is not an object with a string id")  # noqa: TRY004
        if unknown := rollout.keys() - {"id", "text", "answer", "steps", "finish_reason"}:
            raise ValueError(f"rollouts[{index}] has unknown fields {sorted(unknown)}")
        for name in ("text", "answer"):
            if not isinstance(rollout.get(name), str | None):
                raise ValueError(f"rollouts[{index}].{name} is not a string")  # noqa: TRY004
        steps = rollout.get("steps")
        if steps is not None and not (isinstance(steps, list) and all(isinstance(one, str) for one in steps)):
            raise ValueError(f"rollouts[{index}].steps is not a list of strings")
    return Group(group_id, [Rollout(**rollout) for rollout in rollouts])
