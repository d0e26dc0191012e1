"""Reads what the reward server answers; what cannot be the answer to the request raises WrongField.

This is the only place that reads rewards: both clients and all adapters get theirs from here. Unknown fields are
ignored, so that this client can read the responses of a newer server.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from ireasoner.clients.errors import Fault, ServerProblem, problem_class
from ireasoner.clients.fields import (
    LARGEST,
    ROUNDING,
    Fields,
    WrongField,
    as_object,
    echoed,
    flag,
    nullable,
    number,
    numbers,
    objects,
    one_of,
    parsed,
    shown,
    text,
    texts,
    whole,
)
from ireasoner.clients.wire import (
    Cluster,
    Group,
    Member,
    Rollout,
    ScoredGroup,
    ScoredRollout,
    ScoredStep,
    ScoreRequest,
    ScoreResponse,
    Status,
)

_COHORT_SHARES = (
    "reward",
    "outcome",
    "trajectory",
    "dominant_share",
    "tie",
    "valid",
    "abstained",
    "steps_judged",
    "partial",
)
_MOST_FAULTS = 100


def decode_response(body: bytes, request: ScoreRequest) -> ScoreResponse:
    """The response to `request`, which holds the groups and rollouts that were sent, in order."""
    answer = as_object(parsed(body))
    fingerprint = text(answer, "fingerprint")
    if not fingerprint:
        raise WrongField("fingerprint", "is empty")
    reads = [partial(_group, group, request) for group in request.groups]
    groups = echoed(answer, "groups", request.groups, reads)
    return ScoreResponse(text(answer, "request_id"), fingerprint, groups)


def _group(sent: Group, request: ScoreRequest, fields: Fields) -> ScoredGroup:
    status = cast(Status, one_of(fields, "status", "ok", "invalid"))
    dominant_answer = nullable(text, fields, "dominant_answer")
    entropy_nats = nullable(number, fields, "entropy_nats", 0.0, LARGEST)
    proposer_reward = nullable(number, fields, "proposer_reward")
    _null_if(status == "invalid", "dominant_answer", dominant_answer, status)
    _null_if(status == "invalid", "entropy_nats", entropy_nats, status)
    if request.endpoint == "proposer":
        _null_if(False, "proposer_reward", proposer_reward, status)
        rollouts = objects(fields, "rollouts", _unexpected, required=False)
    else:
        reads = [partial(_rollout, request, each) for each in sent.rollouts]
        rollouts = echoed(fields, "rollouts", sent.rollouts, reads)
    return ScoredGroup(
        id=sent.id,
        status=status,
        dominant_answer=dominant_answer,
        tie=flag(fields, "tie"),
        dominant_share=number(fields, "dominant_share"),
        density=number(fields, "density"),
        entropy_nats=entropy_nats,
        proposer_reward=proposer_reward,
        clusters=objects(fields, "clusters", _cluster, required=request.detail == "full"),
        rollouts=rollouts,
        not_compared=texts(fields, "not_compared", required=False),
        hint=nullable(text, fields, "hint") if "hint" in fields else None,
    )


def _unexpected(fields: Fields) -> ScoredRollout:
    raise WrongField("", f"is {shown(fields)}; /score/proposer has no rollouts")


def _rollout(request: ScoreRequest, sent: Rollout, fields: Fields) -> ScoredRollout:
    """One rollout. Only a reward for signals can be outside of 0 to 1, or be paid without an answer.

    A rollout that abstains may lack an answer: under a reward for signals it lacks those.
    """
    status = cast(Status, one_of(fields, "status", "ok", "invalid", "abstain"))
    limits = (-LARGEST, LARGEST) if sent.signals else (0.0, 1.0)
    scored = ScoredRollout(
        id=text(fields, "id"),
        status=status,
        reason=nullable(text, fields, "reason"),
        answer=nullable(text, fields, "answer"),
        reward=nullable(number, fields, "reward", *limits),
        outcome=nullable(number, fields, "outcome", *limits),
        trajectory=nullable(number, fields, "trajectory"),
        steps=objects(fields, "steps", _step, required=request.detail == "full"),
        rewarded=flag(fields, "rewarded") if "rewarded" in fields else True,
        components=numbers(fields, "components"),
    )
    if scored.rewarded != sent.rewarded:
        raise WrongField("rewarded", f"is {scored.rewarded}, but {sent.rewarded} was sent")
    _null_if(status == "ok", "reason", scored.reason, status)
    if status == "invalid" or (status == "ok" and not sent.signals):
        _null_if(status == "invalid", "answer", scored.answer, status)
    _check_reward(scored, request)
    return scored


def _check_reward(scored: ScoredRollout, request: ScoreRequest) -> None:
    """A rollout that only votes has no reward and cannot abstain; an invalid one has reward 0."""
    if not scored.rewarded:
        paid = {name: getattr(scored, name) for name in ("reward", "outcome", "trajectory")}
        if scored.status == "abstain" or any(value is not None for value in paid.values()):
            raise WrongField("rewarded", f"is false, but the status is {scored.status} with {shown(paid)}")
        return
    _null_if(scored.status == "abstain", "reward", scored.reward, scored.status)
    if scored.status == "invalid" and scored.reward != 0:
        raise WrongField("reward", f"is {scored.reward}, but the status is invalid: it must be 0")
    _check_parts(scored, request)


def _null_if(is_null: bool, name: str, value: object, status: str) -> None:
    """Refuses a field that is null although its status does not allow it, or the reverse."""
    if (value is None) != is_null:
        raise WrongField(name, f"is {shown(value)}, but the status is {status}")


def _check_parts(scored: ScoredRollout, request: ScoreRequest) -> None:
    """A reward is one of its parts or between them, and has no part that the endpoint does not compute."""
    parts = {"outcome": scored.outcome, "trajectory": scored.trajectory}
    for name, value in parts.items():
        if value is not None and request.endpoint not in (name, "solver"):
            raise WrongField(name, f"is {value}, but /score/{request.endpoint} does not compute it")
    known = [value for value in parts.values() if value is not None]
    if scored.reward is None or not known:
        return
    if not min(known) - ROUNDING <= scored.reward <= max(known) + ROUNDING:
        raise WrongField("reward", f"is {scored.reward}, which its parts exclude: {shown(parts)}")


def _step(fields: Fields) -> ScoredStep:
    is_explained = "credit" in fields or "place" in fields
    return ScoredStep(
        text(fields, "text"),
        nullable(number, fields, "cosine", -1.0, 1.0),
        number(fields, "weight", 0.0, LARGEST),
        number(fields, "credit") if is_explained else None,
        nullable(whole, fields, "place", 0) if is_explained else None,
    )


def _cluster(fields: Fields) -> Cluster:
    members = objects(fields, "members", _member, required=False)
    return Cluster(text(fields, "answer"), whole(fields, "count", 1), members)


def _member(fields: Fields) -> Member:
    return Member(text(fields, "answer"), whole(fields, "count", 1), texts(fields, "rules"))


def decode_cohort_answer(body: bytes, group_size: int) -> dict[str, float]:
    """The reward of one rollout and its parts, under the same names for every rollout.

    The endpoint returns no ids and no fingerprint, so an answer that was meant for another rollout goes unnoticed.
    """
    answer = as_object(parsed(body))
    numbers = {name: number(answer, name) for name in _COHORT_SHARES}
    numbers["group_size"] = number(answer, "group_size", 1.0, group_size)
    if numbers["partial"] != (numbers["group_size"] < group_size):
        reason = (
            f"is {numbers['partial']:g}, but {numbers['group_size']:g} of {group_size} rollouts were scored"
        )
        raise WrongField("partial", reason)
    return numbers


def decode_config(body: bytes) -> Fields:
    """The fields of the config in an answer to `/configs/{name}`."""
    return as_object(as_object(parsed(body)).get("config"))


def check_ready(body: bytes) -> None:
    """Refuses an answer to `/readyz` that is not a ready reward server's."""
    if not flag(as_object(parsed(body)), "ready"):
        raise WrongField("ready", "is false, but the HTTP status is 200")


def decode_problem(status: int, headers: Mapping[str, str], body: bytes) -> ServerProblem:
    """The error for a response of status 400 or more, whether the server or a proxy wrote it."""
    try:
        problem = as_object(parsed(body))
    except WrongField:
        problem = {"detail": body[:200].decode(errors="replace")}
    faults = problem.get("errors")
    return problem_class(status)(
        status,
        _cut(problem.get("code", "unknown"), 100),
        _cut(problem.get("detail", ""), 2_000),
        faults=tuple(
            Fault(_cut(fault.get("place", ""), 500), _cut(fault.get("reason", ""), 2_000))
            for fault in (faults[:_MOST_FAULTS] if isinstance(faults, list) else ())
            if isinstance(fault, dict)
        ),
        request_id=headers.get("x-request-id"),
        retry_after_s=_seconds(headers.get("retry-after")),
    )


def _cut(value: Any, characters: int) -> str:
    """What a server wrote, as text for a message."""
    whole_text = value if isinstance(value, str) else shown(value)
    return whole_text if len(whole_text) <= characters else f"{whole_text[:characters]}..."


def _seconds(value: str | None) -> float | None:
    """`Retry-After` in seconds; None if it is missing or a date, which this server never sends."""
    return float(value) if value is not None and value.isdecimal() else None
