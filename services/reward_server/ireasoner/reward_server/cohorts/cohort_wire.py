"""The protocols of frameworks that post one rollout per call: their requests and responses."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ireasoner.reward_server.errors import MalformedRequest
from ireasoner.reward_server.scoring_config import ConfigOverrides
from ireasoner.reward_server.wire import Text

_ANCHOR_CHARACTERS = 64
_TASK_IDS = ("prompt_id", "_ng_task_index")
TASK_ANSWERS = ("label", "expected_answer")
"""Fields of a NeMo-Gym row that hold its right answer."""
_TASK_LABELS = ("label", "expected_answer", "verifier_metadata")


class _Foreign(BaseModel):
    """A body that another project defines: its unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class OpenRLHFRequest(_Foreign):
    """The body that `openrlhf.utils.agent` posts; each `query` is a prompt and its response in one text."""

    query: list[Text] = Field(min_length=1)
    prompts: list[Text] = Field(min_length=1)
    labels: list[JsonValue] = Field(default_factory=list)


class OpenRLHFAnswer(BaseModel):
    """The response that OpenRLHF reads; every list has one number per query."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class RemoteRequest(_Foreign):
    """The body that slime's `remote_rm` posts. Other clients may add a `group_id`, one per group of rollouts."""

    prompt: JsonValue
    response: Text
    label: JsonValue = None
    group_id: Text | None = None


class RemoteAnswer(BaseModel):
    """The reward and its parts, all floats; every field is always present."""

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
    """The body that NeMo-Gym posts to `/verify` of a resources server; the response repeats all of it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    responses_create_params: dict[str, JsonValue]
    response: dict[str, Any]


class VerifyAnswer(VerifyRequest):
    """The request's body with the reward, and its parts under `reward_...`."""

    reward: float


@dataclass(frozen=True, slots=True)
class CohortKey:
    """What the callers of one cohort have in common.

    Attributes:
        protocol: The endpoint.
        experiment: Of the token; `-` without tokens.
        run: The URL's `run`.
        prompt: A hash of a group's id, or of what its rollouts share.
        group_size: Rollouts per prompt, N.
        config: The resolved config as JSON.
        config_label: The config's label in metrics.
        progress: Progress of the training, 0 to 1.
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
    """A hash of what the rollouts of a group share."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


COHORT_REQUESTS: Mapping[str, type[OpenRLHFRequest | RemoteRequest | VerifyRequest]] = {
    "/cohort/openrlhf": OpenRLHFRequest,
    "/cohort/remote": RemoteRequest,
    "/verify": VerifyRequest,
}
"""The request body of each cohort endpoint."""


def prompt_keys(sent: OpenRLHFRequest | RemoteRequest | VerifyRequest) -> list[str]:
    """The key of each rollout's group, in order: OpenRLHF's body may hold several rollouts, others hold one."""
    match sent:
        case OpenRLHFRequest():
            labels = sent.labels or [None] * len(sent.prompts)
            return [digest(prompt, label) for prompt, label in zip(sent.prompts, labels, strict=True)]
        case RemoteRequest(group_id=None):
            return [digest(sent.prompt, sent.label)]
        case RemoteRequest():
            return [f"id:{digest(sent.group_id)}"]
        case VerifyRequest():
            return [_task_of(sent)]


def _task_of(body: VerifyRequest) -> str:
    """The key of a NeMo-Gym task: one of its ids if any is not null, else a hash of its input and label.

    Each resources server has its own field for the label: NeMo-Gym's have `expected_answer` or `verifier_metadata`.
    """
    sent = body.model_extra or {}
    for name in _TASK_IDS:
        if sent.get(name) is not None:
            return f"{name}:{digest(sent[name])}"
    return digest(body.responses_create_params.get("input"), *(sent.get(name) for name in _TASK_LABELS))


def response_of(query: str, prompt: str, path: str) -> str:
    """The response in a query, which is a prompt and its response in one text.

    Decoding may have put a special token before the prompt, and truncation may have cut off its beginning; the
    response is then what follows the prompt's end.

    Args:
        query: Prompt and response.
        prompt: The prompt.
        path: Of the query in the body, for the error.

    Raises:
        MalformedRequest: The query does not contain the prompt's end.
    """
    if query.startswith(prompt):
        return query[len(prompt) :]
    anchor = prompt[-_ANCHOR_CHARACTERS:]
    start = query.find(anchor)
    if start < 0:
        raise MalformedRequest.at(path, "the query does not contain its prompt")
    return query[start + len(anchor) :]


def output_text(response: dict[str, Any]) -> str:
    """The text of an OpenAI Responses object: the texts of its output messages, joined."""
    texts = []
    for item in _objects(response.get("output")):
        texts += [part["text"] for part in _objects(item.get("content")) if isinstance(part.get("text"), str)]
    return "".join(texts)


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def config_of(text: str) -> ConfigOverrides:
    """A config from a URL: a name, or a JSON object of overrides; raises MalformedRequest."""
    try:
        return ConfigOverrides.model_validate(
            json.loads(text) if text.lstrip().startswith("{") else {"preset": text}
        )
    except (ValueError, RecursionError) as error:
        raise MalformedRequest.at("config", f"not a config: {error}") from error


def rollout_answers(group: Mapping[str, Any], group_size: int) -> list[RemoteAnswer | None]:
    """The answer to each rollout, or None for all if the server abstained from every one.

    These protocols cannot express an abstention. A rollout that the server abstained from is flagged `abstained`
    and gets the mean reward of the others: its own advantage is then 0, and theirs do not change. A rollout whose
    steps could not be judged gets the mean trajectory reward, and `steps_judged` 0. If no rollout's steps were
    judged, which is allowed only while steps have no weight, `trajectory` is 0.

    Args:
        group: A `wire.ScoredGroup` as a mapping.
        group_size: Rollouts per prompt, N; with fewer rollouts the group is `partial`.
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
