"""What is sent to the reward server and what comes back, as frozen dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Endpoint = Literal["outcome", "trajectory", "solver", "proposer"]
Detail = Literal["full", "rewards"]
Status = Literal["ok", "invalid", "abstain"]
Config = str | Mapping[str, object]
"""The name of a preset, or overrides on one: `{"preset": "paper", "alpha": 0.5}`."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion: its raw `text`, or an `answer` and `steps` that were parsed before.

    Raises ValueError if it has both or neither. A parsed rollout without `answer` has none, and is invalid.
    """

    id: str
    text: str | None = None
    answer: str | None = None
    steps: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.answer is None and self.steps is None):
            raise ValueError(f"rollout {self.id!r} needs either text, or answer and steps")


@dataclass(frozen=True, slots=True)
class Group:
    """All rollouts of one question about one image; they are scored against each other."""

    id: str
    rollouts: Sequence[Rollout]


@dataclass(frozen=True, slots=True)
class ScoredStep:
    """One parsed step. `cosine` is None and `weight` 0 if it took no part in the trajectory reward."""

    text: str
    cosine: float | None
    weight: float


@dataclass(frozen=True, slots=True)
class ScoredRollout:
    """One rollout's rewards. `reward` is the one of the endpoint that was called, its parts follow.

    A part that the endpoint does not compute is None. With status `invalid` the reward is 0 by definition;
    with `abstain` it is None; for both, `reason` says why. `steps` is empty unless detail is `full`.
    """

    id: str
    status: Status
    reason: str | None
    answer: str | None
    reward: float | None
    outcome: float | None
    trajectory: float | None
    steps: tuple[ScoredStep, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """An answer, after normalisation, and how many rollouts gave it."""

    answer: str
    count: int


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """One group's agreement with itself, and its rollouts in the order in which they were sent.

    `dominant_share` and `density` are in [0, 1]; `entropy_nats` is None if no rollout has a valid answer.
    `rollouts` is empty for the endpoint `proposer`, `clusters` unless detail is `full`.
    """

    id: str
    status: Status
    dominant_answer: str | None
    tie: bool
    dominant_share: float
    density: float
    entropy_nats: float | None
    proposer_reward: float | None
    clusters: tuple[Cluster, ...]
    rollouts: tuple[ScoredRollout, ...]


@dataclass(frozen=True, slots=True)
class ScoreResponse:
    """The answer to one request: its groups in the order in which they were sent.

    Two responses with the same `fingerprint` were scored by the same config, parser and embedder.
    """

    request_id: str
    fingerprint: str
    groups: tuple[ScoredGroup, ...]
