"""The bodies of requests, and groups in the form that they have in a request."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import quote, urlencode

from ireasoner.clients.wire import Config, Group, Rollout, ScoreRequest, is_sha256

MAX_QUESTION_CHARACTERS = 65_536
MAX_LABELS = 64
MAX_LABEL_CHARACTERS = 4_096
MAX_SOURCE_CHARACTERS = 256
MAX_UPDATE = 2**53 - 1
_CUT_OFF = " [cut off]"


def encode_request(request: ScoreRequest) -> bytes:
    """The body of a scoring request; what is None is left out, so that servers of an older wire take the rest.

    Context beyond the wire's bounds is cut off or left out, because no reward depends on it.

    Raises ValueError if the config or progress holds NaN or infinity, which JSON cannot express.
    """
    config = request.config
    body: dict[str, object] = {
        "groups": [_encode_group(group) for group in request.groups],
        "config": config if isinstance(config, str) else dict(config),
        "detail": request.detail,
    }
    if request.progress is not None:
        body["progress"] = request.progress
    if request.update is not None and 0 <= request.update <= MAX_UPDATE:
        body["update"] = request.update
    if request.source:
        body["source"] = within(request.source)
    if not request.record:
        body["record"] = False
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def cohort_path(config: Config, group_size: int, deadline_s: float, source: str | None) -> str:
    """The path of the cohort endpoint, with the settings of a cohort."""
    settings: dict[str, str | float] = {
        "group_size": group_size,
        "deadline_s": deadline_s,
        "config": config if isinstance(config, str) else json.dumps(dict(config)),
    }
    if source:
        settings["run"] = within(source)
    return f"/cohort/remote?{urlencode(settings)}"


def config_path(name: str) -> str:
    """The path of a config."""
    return f"/configs/{quote(name, safe='')}"


def encode_cohort_call(group_id: str, text: str, prompt: str | None, labels: Sequence[str] | None) -> bytes:
    """The body of a call to `/cohort/remote`, which takes one rollout."""
    body: dict[str, object] = {"prompt": group_id, "response": text, "group_id": group_id}
    if prompt:
        body["prompt"] = within(prompt, MAX_QUESTION_CHARACTERS)
    if known := _encode_labels(labels):
        body["label"] = known
    return json.dumps(body).encode()


def _encode_group(group: Group) -> dict[str, object]:
    body: dict[str, object] = {"id": group.id, "rollouts": [_encode_rollout(each) for each in group.rollouts]}
    if group.voters is not None:
        body["voters"] = group.voters
    if group.question:
        body["question"] = within(group.question, MAX_QUESTION_CHARACTERS)
    if group.image is not None:
        body["image"] = group.image
    if labels := _encode_labels(group.labels):
        body["labels"] = labels
    return body


def _encode_labels(labels: Sequence[str] | None) -> list[str]:
    """The labels, or none if there are too many or one is too long: a part would count right answers as wrong."""
    fit = labels and len(labels) <= MAX_LABELS and max(map(len, labels)) <= MAX_LABEL_CHARACTERS
    return [_whole(label) for label in labels or ()] if fit else []


def within(text: str, characters: int = MAX_SOURCE_CHARACTERS) -> str:
    """`text` with at most so many characters; the mark at its end shows that it was cut off."""
    text = _whole(text)
    return text if len(text) <= characters else text[: characters - len(_CUT_OFF)] + _CUT_OFF


def _whole(text: str) -> str:
    """`text` with U+FFFD for each half of a surrogate pair, which the wire refuses."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _encode_rollout(rollout: Rollout) -> dict[str, object]:
    body: dict[str, object] = {"id": rollout.id}
    if rollout.text is not None:
        body["text"] = rollout.text
    else:
        body |= {"answer": rollout.answer, "steps": list(rollout.steps or ())}
    if rollout.finish_reason is not None:
        body["finish_reason"] = rollout.finish_reason
    if rollout.answer_in_view is not None:
        body["answer_in_view"] = rollout.answer_in_view
    if rollout.view is not None:
        body["view"] = rollout.view
    if not rollout.rewarded:
        body["rewarded"] = False
    if rollout.signals:
        body["signals"] = dict(rollout.signals)
    return body


_ROLLOUT_FIELDS = tuple(each.name for each in fields(Rollout))
_GROUP_FIELDS = tuple(each.name for each in fields(Group))


def decode_group(body: Mapping[str, Any]) -> Group:
    """A group in the form of a request body; raises ValueError with the path and the reason if it is malformed."""
    if unknown := body.keys() - set(_GROUP_FIELDS):
        raise ValueError(f"unknown fields {sorted(unknown)}; a group has {', '.join(_GROUP_FIELDS)}")
    group_id, rollouts = body.get("id"), body.get("rollouts")
    if not isinstance(group_id, str):
        raise ValueError("id is missing or is not a string")  # noqa: TRY004
    if not isinstance(rollouts, list) or not rollouts:
        raise ValueError("rollouts is missing, empty or not a list")
    for index, rollout in enumerate(rollouts):
        _check_rollout(f"rollouts[{index}]", rollout)
    for name in ("voters", "question", "image"):
        if not isinstance(body.get(name), str | None):
            raise ValueError(f"{name} is not a string")  # noqa: TRY004
    if (image := body.get("image")) is not None and not is_sha256(image):
        raise ValueError("image is not a SHA-256: 64 hexadecimal digits in lower case")
    _check_texts("labels", body.get("labels"))
    rest = {name: value for name, value in body.items() if name not in ("id", "rollouts")}
    return Group(group_id, [Rollout(**rollout) for rollout in rollouts], **rest)


def _check_rollout(path: str, rollout: object) -> None:
    if not isinstance(rollout, dict) or not isinstance(rollout.get("id"), str):
        raise ValueError(f"{path} is not an object with a string id")  # noqa: TRY004
    if unknown := rollout.keys() - set(_ROLLOUT_FIELDS):
        raise ValueError(f"{path} has unknown fields {sorted(unknown)}")
    for name in ("text", "answer", "answer_in_view", "view"):
        if not isinstance(rollout.get(name), str | None):
            raise ValueError(f"{path}.{name} is not a string")  # noqa: TRY004
    _check_texts(f"{path}.steps", rollout.get("steps"))
    if not isinstance(rollout.get("rewarded", True), bool):
        raise ValueError(f"{path}.rewarded is not true or false")  # noqa: TRY004
    signals = rollout.get("signals")
    if signals is not None and not (isinstance(signals, dict) and all(map(_is_number, signals.values()))):
        raise ValueError(f"{path}.signals is not an object of numbers")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_texts(path: str, texts: object) -> None:
    if texts is not None and not (isinstance(texts, list) and all(isinstance(one, str) for one in texts)):
        raise ValueError(f"{path} is not a list of strings")
