"""One scored request as the ledger keeps it, and the figures of its groups."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ireasoner.reward_server.ledger.labels import Labels, knows_clusters
from ireasoner.reward_server.ledger.schema import NO_SOURCE
from ireasoner.reward_server.scoring_config import ScoringConfig

Json = Mapping[str, Any]

COMPRESSION = 3
"""zlib's level: 7% larger than at its default, in half the time."""
EQUAL_REWARDS = 1e-9
"""Rewards that differ by less are equal: sums of the same numbers in another order."""
INDEXED_CHARACTERS = 2**20
"""Characters of a group's steps that full-text search finds."""


@dataclass(frozen=True, slots=True)
class Record:
    """One scored request.

    Attributes:
        feed: The start of a server that sends the record; `import` if it comes from a file.
        sequence: Its number in the feed, from 1. A record whose number is not above the feed's last is already kept.
        received_s: Seconds since 1970.
        experiment: Of the token; `-` without tokens.
        source: The run that sent it; `-` if it named none.
        update: The policy update; None if the caller did not say.
        endpoint: outcome, trajectory, solver or proposer.
        progress: Of the training, 0 to 1.
        request_id: Of the request.
        config_label: The name of the config, with a `+` if the request overrode fields of it.
        config: All fields of the config.
        fingerprint: Of what the rewards depend on.
        embedder: Its identity.
        groups: For each group `{"group": ..., "scored": ...}`: the group as it was sent, and as `wire.ScoredGroup` with
            detail full.
        line: Identifies the line of a file that the record, of one group, comes from: it is kept once, whatever its
            feed and sequence; None for what a server sends.
    """

    feed: str
    sequence: int
    received_s: float
    experiment: str
    source: str
    update: int | None
    endpoint: str
    progress: float
    request_id: str
    config_label: str
    config: ScoringConfig
    fingerprint: str
    embedder: str
    groups: Sequence[Json]
    line: bytes | None = None

    @classmethod
    def received(cls, feed: str, context: Json, sent: bytes, answered: bytes) -> "Record":
        """The record of a request and the response to it.

        Args:
            feed: The feed.
            context: The other fields that are not in either; `config` is JSON.
            sent: The body of the request.
            answered: The response, with detail full.
        """
        request, response = _parsed(sent), orjson.loads(answered)
        pairs = zip(request["groups"], response["groups"], strict=True)
        return cls(
            feed=feed,
            sequence=context["sequence"],
            received_s=context["received_s"],
            experiment=context["experiment"],
            source=request.get("source") or NO_SOURCE,
            update=request.get("update"),
            endpoint=context["endpoint"],
            progress=context["progress"],
            request_id=response["request_id"],
            config_label=context["config_label"],
            config=ScoringConfig.model_validate_json(context["config"]),
            fingerprint=response["fingerprint"],
            embedder=context["embedder"],
            groups=[{"group": group, "scored": scored} for group, scored in pairs],
        )


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one group, by the names of their columns in `groups`."""

    status: str
    dominant_answer: str | None
    tie: bool
    dominant_share: float
    density: float
    entropy_nats: float | None
    proposer_reward: float | None
    rollouts: int
    invalid: int
    abstained: int
    reward: float | None
    outcome: float | None
    trajectory: float | None
    excess: float | None
    spread: float | None
    words: float
    steps: float | None
    correct: bool | None
    correct_share: float | None


@dataclass(frozen=True, slots=True)
class Texts:
    """What full-text search finds of one group."""

    question: str
    answers: str
    steps: str


def figures(sent: Json, scored: Json, config: ScoringConfig) -> Figures:
    """The figures of a group, given as it was sent and as it was scored with detail full."""
    rollouts: Sequence[Json] = scored.get("rollouts", ())
    rewards = _known(rollouts, "reward")
    reward, outcome = _mean(rewards), _mean(_known(rollouts, "outcome"))
    right = Labels(sent.get("labels") or (), config).right(scored)
    return Figures(
        status=scored["status"],
        dominant_answer=scored["dominant_answer"],
        tie=scored["tie"],
        dominant_share=scored["dominant_share"],
        density=scored["density"],
        entropy_nats=scored["entropy_nats"],
        proposer_reward=scored["proposer_reward"],
        rollouts=len(sent["rollouts"]),
        invalid=_invalid(sent, scored),
        abstained=sum(each["status"] == "abstain" for each in rollouts),
        reward=reward,
        outcome=outcome,
        trajectory=_mean(_known(rollouts, "trajectory")),
        excess=None if reward is None or outcome is None else reward - outcome,
        spread=_spread(rewards),
        words=sum(len(text.split()) for each in sent["rollouts"] for text in _texts(each))
        / len(sent["rollouts"]),
        steps=_mean([len(each["steps"]) for each in rollouts if "steps" in each]),
        correct=None if right is None else scored["dominant_answer"] in right,
        correct_share=None if right is None else sum(right.values()) / len(sent["rollouts"]),
    )


def texts(sent: Json, scored: Json) -> Texts:
    """The texts of a group that full-text search finds; each step once.

    They depend on the group's document alone, because a row of the index can only be removed by its texts: whoever
    changes this function raises `schema.VERSION`.
    """
    answers = dict.fromkeys(
        answer
        for each in scored.get("clusters", ())
        for answer in (each["answer"], *(member["answer"] for member in each.get("members", ())))
    )
    steps = dict.fromkeys(_steps(scored)) or dict.fromkeys(
        text for each in sent["rollouts"] for text in _texts(each)
    )
    return Texts(
        _indexed(sent.get("question") or ""),
        _indexed("\n".join(answers)),
        _indexed("\n".join(steps)[:INDEXED_CHARACTERS]),
    )


def packed(group: Json) -> bytes:
    """A group's document, compressed."""
    return zlib.compress(orjson.dumps(group), COMPRESSION)


def unpacked(document: bytes) -> dict[str, Any]:
    """The group `{"group": ..., "scored": ...}` of a document."""
    group: dict[str, Any] = orjson.loads(zlib.decompress(document))
    return group


def sendable(value: Any) -> Any:
    """A JSON value in which each half of a surrogate pair, which UTF-8 cannot express, is U+FFFD."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case Mapping():
            return {sendable(name): sendable(each) for name, each in value.items()}
        case list() | tuple():
            return [sendable(each) for each in value]
    return value


def _indexed(text: str) -> str:
    """A text without NUL, at which SQLite's tokenizer ends."""
    return text.replace("\0", " ")


def _parsed(body: bytes) -> dict[str, Any]:
    """A body that the server has accepted; its JSON may be UTF-16, which orjson does not read."""
    try:
        parsed: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = json.loads(body)
    return parsed


def _invalid(sent: Json, scored: Json) -> int:
    """Rollouts without an answer; `/score/proposer` lists no rollouts, but its clusters count the others.

    They count as 0 where neither was kept.
    """
    if "rollouts" in scored:
        return sum(each["status"] == "invalid" for each in scored["rollouts"])
    if not knows_clusters(scored):
        return 0
    answered: int = sum(cluster["count"] for cluster in scored.get("clusters", ()))
    return len(sent["rollouts"]) - answered


def _steps(scored: Json) -> Iterator[str]:
    for rollout in scored.get("rollouts", ()):
        for step in rollout.get("steps", ()):
            yield step["text"]


def _texts(rollout: Json) -> Iterator[str]:
    """The texts of a rollout as it was sent."""
    yield from (text for text in (rollout.get("text"), rollout.get("answer")) if text is not None)
    yield from rollout.get("steps") or ()


def _known(rollouts: Sequence[Json], name: str) -> list[float]:
    return [each[name] for each in rollouts if each[name] is not None]


def _spread(rewards: Sequence[float]) -> float | None:
    """The largest reward less the smallest; 0 where they differ in their last bits only."""
    if not rewards:
        return None
    spread = max(rewards) - min(rewards)
    return 0.0 if spread < EQUAL_REWARDS else spread


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
