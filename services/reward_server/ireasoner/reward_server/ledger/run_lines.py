"""Lines of files that hold groups, as the reward server would have recorded them.

A run folder's `groups.jsonl` has one group per line, with rollouts and scores. The files that `reward-score` reads
(groups without scores) and writes (scores without texts) belong together by the ids of their groups. The
explorer's export has a file of its own, `exported_line`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ireasoner.reward_server import wire
from ireasoner.reward_server.scoring_config import ScoringConfig

Json = dict[str, Any]
Kind = Literal["run", "scores", "groups", "export"]
"""A line of a run folder, one that `reward-score` wrote, one that it reads, and one that the explorer exported."""

LARGEST_UPDATE = 2**53 - 1
MAX_LABELS = 64
"""Of one group, on the wire."""


class UnusableLine(Exception):
    """A line is none of these; the message says why."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The config that groups were scored with."""

    label: str
    config: ScoringConfig


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a group was recorded, and what it was scored with.

    Attributes:
        experiment: Its experiment.
        source: Its run.
        received_s: Its arrival, in seconds since 1970.
        request_id: Of its request.
        scoring: Its config; None if that is not known.
        embedder: The embedder's identity.
    """

    experiment: str
    source: str
    received_s: float
    request_id: str
    scoring: Scoring | None
    embedder: str


@dataclass(frozen=True, slots=True)
class Line:
    """A group of a line.

    Attributes:
        sent: The group as `wire.Group`.
        scored: Its scores as `wire.ScoredGroup`, in full detail.
        update: The update that it is of; None if the line does not say.
        endpoint: What it was scored for.
        progress: Of the training.
        fingerprint: Of its scoring; empty if the line does not say.
        image: Path of its image as it was written; None if there is none, or if `sent` names its SHA-256.
        origin: The ledger's context of it; None if the line does not say.
    """

    sent: Json
    scored: Json
    update: int | None
    endpoint: str
    progress: float
    fingerprint: str
    image: str | None
    origin: Origin | None = None


def is_of_run(line: Json) -> bool:
    """Whether it is a line of a run folder's groups.jsonl."""
    return "trained_on" in line or line.get("role") in ("solver", "proposer")


def kind_of(line: Json) -> Kind:
    """What kind of line it is.

    Raises:
        UnusableLine: It is none.
    """
    if "sent" in line and "scored" in line:
        return "export"
    if is_of_run(line):
        return "run"
    if "dominant_answer" in line:
        return "scores"
    if "rollouts" in line:
        return "groups"
    raise UnusableLine(
        "not a group: it has neither role (a run folder's groups.jsonl), nor dominant_answer (what reward-score "
        "writes), nor rollouts (what it reads), nor sent and scored (what the explorer exports)"
    )


def of_run(line: Json, name: str) -> Line | None:
    """The group of a line of groups.jsonl; None if it holds no rollouts of answers.

    Those of the Proposer hold none, and neither do those of proposals without a question.

    Raises:
        UnusableLine: A field is missing or wrong.
    """
    is_left_out = line.get("rollouts") == [] and line.get("status") is None
    if line.get("role") == "proposer" or is_left_out:
        return None
    try:
        rollouts = line["rollouts"]
        sent = {
            "id": name,
            "rollouts": [
                _without_nulls(
                    {"id": str(index), "text": rollout["text"], "finish_reason": _finish_reason(rollout)}
                )
                for index, rollout in enumerate(rollouts)
            ],
            **_without_nulls({"question": line.get("question"), "labels": _labels(line)}),
        }
        scored = {
            "id": name,
            **{field: line[field] for field in _SCORES if field in line},
            "tie": bool(line.get("tie")),
            "clusters": _clusters(line.get("dominant_answer"), rollouts),
            "rollouts": [_scored_rollout(index, rollout) for index, rollout in enumerate(rollouts)],
        }
        return Line(
            sent=checked(wire.Group, sent),
            scored=checked(wire.ScoredGroup, scored),
            update=_update(line.get("update")),
            endpoint="solver",
            progress=_progress(line.get("progress", 1.0)),
            fingerprint=_text(line.get("fingerprint", "")),
            image=None if line.get("image") is None else _text(line["image"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UnusableLine(_missing(error)) from error


def of_scores(line: Json, sent: Json | None, progress: float) -> Line:
    """The group of a line that `reward-score` wrote, and of the line that it read, if that is at hand.

    Args:
        line: The scores.
        sent: What was scored; None if it is not known.
        progress: That `reward-score` was given.

    Raises:
        UnusableLine: A field is missing or wrong, or the two lines are of different groups.
    """
    fingerprint = _text(line.get("fingerprint", ""))
    scored = {name: value for name, value in line.items() if name != "fingerprint"}
    scored = checked(wire.ScoredGroup, scored)
    try:
        endpoint = _endpoint(scored)
        if sent is None:
            if endpoint == "proposer":
                raise UnusableLine(
                    "scores for the Proposer list no rollouts: import them together with the file that was scored"
                )
            sent = {"id": scored["id"], "rollouts": [_parsed(rollout) for rollout in scored["rollouts"]]}
        sent = checked(wire.Group, sent)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnusableLine(_missing(error)) from error
    check_rollouts(endpoint, sent, scored)
    return Line(sent, scored, None, endpoint, progress, fingerprint, None)


_SCORES = (
    "status",
    "dominant_answer",
    "dominant_share",
    "density",
    "entropy_nats",
    "proposer_reward",
)


def _clusters(dominant: str | None, rollouts: list[Json]) -> list[Json]:
    """The answer clusters, which groups.jsonl leaves out: the dominant one first."""
    counts = Counter(rollout["answer"] for rollout in rollouts if rollout["answer"] is not None)
    ordered = sorted(counts.items(), key=lambda item: (item[0] != dominant, -item[1]))
    return [{"answer": answer, "count": count} for answer, count in ordered]


def _scored_rollout(index: int, rollout: Json) -> Json:
    names = ("status", "answer", "reward", "outcome", "trajectory")
    return {
        "id": str(index),
        **{name: rollout[name] for name in names},
        "reason": rollout.get("reason"),
        "steps": rollout.get("steps", []),
    }


def _parsed(rollout: Json) -> Json:
    """A scored rollout as it could have been sent: its answer and its steps."""
    return {
        "id": rollout["id"],
        "answer": rollout["answer"],
        "steps": [step["text"] for step in rollout.get("steps", ())],
    }


def _labels(line: Json) -> list[str] | None:
    """The true answer that the trainer logged, and the answers that it counted as right; None if it knew none."""
    shadow = line.get("shadow")
    if not shadow or not isinstance(shadow.get("truth"), str):
        return None
    right = [
        rollout["answer"]
        for rollout, is_right in zip(line["rollouts"], shadow.get("right", ()), strict=False)
        if is_right and rollout["answer"] is not None
    ]
    return list(dict.fromkeys([shadow["truth"], *right]))[:MAX_LABELS]


def _endpoint(scored: Json) -> str:
    """The endpoint that gives scores of this form."""
    rollouts = scored.get("rollouts") or []
    if not rollouts:
        return "proposer"
    has = {name for name in ("outcome", "trajectory") if any(each[name] is not None for each in rollouts)}
    if has == {"outcome"}:
        return "outcome"
    return "trajectory" if has == {"trajectory"} else "solver"


def _finish_reason(rollout: Json) -> str | None:
    reason = rollout.get("finish_reason")
    return reason if reason in ("stop", "length") else None


def _update(index: object) -> int | None:
    """The number of an update by its index: a run folder's lines count from 0, the ledger from 1."""
    if index is None:
        return None
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < LARGEST_UPDATE:
        raise UnusableLine(f"update: {index!r} is not the number of an update")
    return index + 1


def _progress(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UnusableLine(f"progress: {value!r} is not in [0, 1]")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnusableLine(f"{value!r} is not a text")
    return value


def checked(model: type[BaseModel], value: Json) -> Json:
    """The value itself, once the model takes it.

    Raises:
        UnusableLine: It does not; the message names the first field.
    """
    try:
        model.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        raise UnusableLine(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
    return value


def check_rollouts(endpoint: str, sent: Json, scored: Json) -> None:
    """Raises UnusableLine if scores, which list rollouts except for the Proposer, are of other rollouts."""
    if endpoint != "proposer" and [each["id"] for each in sent["rollouts"]] != [
        each["id"] for each in scored["rollouts"]
    ]:
        raise UnusableLine(
            f"the group {scored['id']!r} that was scored has other rollouts: is it another file's?"
        )


def _without_nulls(value: Mapping[str, Any]) -> Json:
    return {name: each for name, each in value.items() if each is not None}


def _missing(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error.args[0]!r} is missing"
    return f"a field has a wrong form: {error}"
