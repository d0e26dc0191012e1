"""What frameworks that post one sample a call send, and what they get: their protocols, not ours."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.scoring_config import ConfigOverrides
from ireasoner.reward_server.wire import Fault, Text

_ANCHOR_CHARACTERS = 64
_TASK_IDS = ("prompt_id", "_ng_task_index")
_TASK_LABELS = ("label", "expected_answer", "verifier_metadata")


class _Foreign(BaseModel):
    """A body that another project defines: what it has besides is passed over."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class OpenRLHFRequest(_Foreign):
    """What `openrlhf.utils.agent` posts; `query` is prompt and response in one."""

    query: list[Text] = Field(min_length=1)
    prompts: list[Text] = Field(min_length=1)
    labels: list[JsonValue] = Field(default_factory=list)


class OpenRLHFAnswer(BaseModel):
    """What OpenRLHF reads; every list has one number a query."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class RemoteRequest(_Foreign):
    """What slime's `remote_rm` posts. Other clients may add `group_id`, which is the same for siblings."""

    prompt: JsonValue
    response: Text
    label: JsonValue = None
    group_id: Text | None = None


class RemoteAnswer(BaseModel):
    """The reward and its parts, all floats, always the same; see `rollout_answers`."""

    reward: float
    outcome: float
    trajectory: float
    dominant_share: float
    tie: float
    valid: float
    abstained: float
    steps_judged: float
    partial: float
    group_size: float


class VerifyRequest(_Foreign):
    """What NeMo-Gym posts to a resources server's `/verify`; all of it comes back."""

    model_config = ConfigDict(extra="allow", frozen=True)

    responses_create_params: dict[str, JsonValue]
    response: dict[str, Any]


class VerifyAnswer(VerifyRequest):
    """The request's body with the reward, and its parts under `reward_...`."""

    reward: float


@dataclass(frozen=True, slots=True)
class CohortKey:
    """What the callers of one cohort have in common. `prompt` is a group's id, or a hash of what was sent.

    `config` is the resolved config as JSON, `config_label` what metrics call it.
    """

    protocol: Literal["openrlhf", "remote", "verify"]
    experiment: str
    run: str
    prompt: str
    group_size: int
    config: str
    config_label: str
    progress: float


def digest(*parts: JsonValue) -> str:
    """A hash of what siblings share."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


COHORT_PAGES: Mapping[str, type[OpenRLHFRequest | RemoteRequest | VerifyRequest]] = {
    "/cohort/openrlhf": OpenRLHFRequest,
    "/cohort/remote": RemoteRequest,
    "/verify": VerifyRequest,
}
"""What is posted to each cohort endpoint."""


def prompt_keys(sent: OpenRLHFRequest | RemoteRequest | VerifyRequest) -> list[str]:
    """What the siblings of each rollout of a body share, in order: OpenRLHF's may hold several, others one."""
    match sent:
        case OpenRLHFRequest():
            labels = sent.labels or [None] * len(sent.prompts)
            return [digest(prompt, label) for prompt, label in zip(sent.prompts, labels, strict=True)]
        case RemoteRequest(group_id=None):
            return [digest(sent.prompt, sent.label)]
        case RemoteRequest():
            return [f"id:{sent.group_id}"]
        case VerifyRequest():
            return [_task_of(sent)]


def _task_of(body: VerifyRequest) -> str:
    """What siblings of NeMo-Gym share: an id of their task, which may be null, else its input and label.

    A row names its label as its resources server does: NeMo-Gym's own say `expected_answer` or `verifier_metadata`.
    """
    sent = body.model_extra or {}
    for name in _TASK_IDS:
        if sent.get(name) is not None:
            return f"{name}:{sent[name]}"
    return digest(body.responses_create_params.get("input"), *(sent.get(name) for name in _TASK_LABELS))


def response_of(query: str, prompt: str, place: str) -> str:
    """The response in a query that is prompt and response in one.

    Decoding may have put a special token before the prompt, and truncation may have taken its beginning away;
    then what follows the prompt's end is the response. Raises MalformedRequest if that is not in the query.
    """
    if query.startswith(prompt):
        return query[len(prompt) :]
    anchor = prompt[-_ANCHOR_CHARACTERS:]
    start = query.find(anchor)
    if start < 0:
        reason = "the query does not hold its prompt"
        raise MalformedRequest(f"{place}: {reason}", faults=(Fault(place=place, reason=reason),))
    return query[start + len(anchor) :]


def output_text(response: dict[str, Any]) -> str:
    """The text of an OpenAI Responses object: that of its output messages, one after the other."""
    texts = []
    for item in _objects(response.get("output")):
        texts += [part["text"] for part in _objects(item.get("content")) if isinstance(part.get("text"), str)]
    return "".join(texts)


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def config_of(text: str) -> ConfigOverrides:
    """A config as a URL has it: a name, or a JSON object of overrides. Raises MalformedRequest."""
    try:
        return ConfigOverrides.model_validate(
            json.loads(text) if text.lstrip().startswith("{") else {"preset": text}
        )
    except ValueError as error:
        reason = f"not a config: {error}"
        raise MalformedRequest(reason, faults=(Fault(place="config", reason=reason),)) from error


def rollout_answers(group: Mapping[str, Any], group_size: int) -> list[RemoteAnswer | None]:
    """Each rollout's answer; None if nothing in the group could be judged. `group` is a `wire.ScoredGroup`.

    These protocols have no word for "no opinion". A rollout that the server could not judge gets the mean of
    those that it could, which leaves it without advantage and theirs as it was, and is flagged `abstained`.
    So does one whose steps could not be, of their part `trajectory`, and has no `steps_judged`: where no
    rollout has, which matters only while steps have no weight, the part is told as 0.
    """
    rollouts: list[Mapping[str, Any]] = group["rollouts"]
    means = {name: _mean_of(rollouts, name) for name in ("reward", "outcome", "trajectory")}
    if means["reward"] is None:
        return [None] * len(rollouts)
    return [
        RemoteAnswer(
            **{name: (mean or 0.0) if each[name] is None else each[name] for name, mean in means.items()},
            dominant_share=group["dominant_share"],
            tie=float(group["tie"]),
            valid=float(each["status"] == "ok"),
            abstained=float(each["status"] == "abstain"),
            steps_judged=float(each["trajectory"] is not None),
            partial=float(len(rollouts) < group_size),
            group_size=float(len(rollouts)),
        )
        for each in rollouts
    ]


def _mean_of(rollouts: list[Mapping[str, Any]], name: str) -> float | None:
    """The mean of a number over the rollouts that have it; None if none has."""
    values = [each[name] for each in rollouts if each[name] is not None]
    return sum(values) / len(values) if values else None
