"""Encodes requests and decodes responses, for the sync and the async client alike."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ireasoner.clients.errors import BadAnswer, Fault, ServerProblem, problem_class
from ireasoner.clients.wire import (
    Cluster,
    Config,
    Detail,
    Group,
    Member,
    Rollout,
    ScoredGroup,
    ScoredRollout,
    ScoredStep,
    ScoreResponse,
)


def encode_request(groups: Sequence[Group], config: Config, progress: float | None, detail: Detail) -> bytes:
    """The body of a scoring request; `progress`, in [0, 1], is left out if it is None.

    Raises ValueError if the config or progress holds NaN or infinity, which JSON cannot express.
    """
    body: dict[str, object] = {
        "groups": [
            {"id": group.id, "rollouts": [_encode_rollout(rollout) for rollout in group.rollouts]}
            for group in groups
        ],
        "config": config if isinstance(config, str) else dict(config),
        "detail": detail,
    }
    if progress is not None:
        body["progress"] = progress
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def _encode_rollout(rollout: Rollout) -> dict[str, object]:
    if rollout.text is not None:
        return {"id": rollout.id, "text": rollout.text}
    return {"id": rollout.id, "answer": rollout.answer, "steps": list(rollout.steps or ())}


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
        if unknown := rollout.keys() - {"id", "text", "answer", "steps"}:
            raise ValueError(f"rollouts[{index}] has unknown fields {sorted(unknown)}")
        for name in ("text", "answer"):
            if not isinstance(rollout.get(name), str | None):
                raise ValueError(f"rollouts[{index}].{name} is not a string")  # noqa: TRY004
        steps = rollout.get("steps")
        if steps is not None and not (isinstance(steps, list) and all(isinstance(one, str) for one in steps)):
            raise ValueError(f"rollouts[{index}].steps is not a list of strings")
    return Group(group_id, [Rollout(**rollout) for rollout in rollouts])


def decode_response(body: bytes) -> ScoreResponse:
    """The answer to a scoring request; raises BadAnswer if `body` is something else.

    Unknown fields are ignored, so that this client can read the answers of a newer server.
    """
    try:
        answer = json.loads(body)
        return ScoreResponse(
            request_id=answer["request_id"],
            fingerprint=answer["fingerprint"],
            groups=tuple(_decode_scored_group(group) for group in answer["groups"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(f"{type(error).__name__}: {error}; the answer began with {body[:200]!r}") from error


def _decode_scored_group(group: Mapping[str, Any]) -> ScoredGroup:
    return ScoredGroup(
        id=group["id"],
        status=group["status"],
        dominant_answer=group["dominant_answer"],
        tie=group["tie"],
        dominant_share=group["dominant_share"],
        density=group["density"],
        entropy_nats=group["entropy_nats"],
        proposer_reward=group["proposer_reward"],
        clusters=tuple(_decode_cluster(cluster) for cluster in group.get("clusters", ())),
        rollouts=tuple(_decode_scored_rollout(rollout) for rollout in group.get("rollouts", ())),
        not_compared=tuple(group.get("not_compared", ())),
    )


def _decode_cluster(cluster: Mapping[str, Any]) -> Cluster:
    members = (
        Member(member["answer"], member["count"], tuple(member["rules"]))
        for member in cluster.get("members", ())
    )
    return Cluster(cluster["answer"], cluster["count"], tuple(members))


def _decode_scored_rollout(rollout: Mapping[str, Any]) -> ScoredRollout:
    return ScoredRollout(
        id=rollout["id"],
        status=rollout["status"],
        reason=rollout["reason"],
        answer=rollout["answer"],
        reward=rollout["reward"],
        outcome=rollout["outcome"],
        trajectory=rollout["trajectory"],
        steps=tuple(
            ScoredStep(step["text"], step["cosine"], step["weight"], step.get("credit"), step.get("place"))
            for step in rollout.get("steps", ())
        ),
    )


def decode_cohort_answer(body: bytes) -> dict[str, float]:
    """The reward of one rollout and its parts; raises BadAnswer if `body` is something else."""
    try:
        answer = {str(name): float(value) for name, value in json.loads(body).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BadAnswer(f"{type(error).__name__}: {error}; the answer began with {body[:200]!r}") from error
    if "reward" not in answer:
        raise BadAnswer(f"no reward in {body[:200]!r}")
    return answer


def decode_problem(status: int, headers: Mapping[str, str], body: bytes) -> ServerProblem:
    """The error for an answer of status 400 or more, whether the server or a proxy wrote it."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"code": "unknown", "detail": body[:200].decode(errors="replace")}
    faults = problem.get("errors")
    return problem_class(status)(
        status,
        str(problem.get("code", "unknown")),
        str(problem.get("detail", "")),
        faults=tuple(
            Fault(str(fault.get("place", "")), str(fault.get("reason", "")))
            for fault in (faults if isinstance(faults, list) else ())
            if isinstance(fault, dict)
        ),
        request_id=headers.get("x-request-id"),
        retry_after_s=_seconds(headers.get("retry-after")),
    )


def _seconds(value: str | None) -> float | None:
    """`Retry-After` in seconds; None if it is missing or a date, which this server never sends."""
    return float(value) if value is not None and value.isdecimal() else None
