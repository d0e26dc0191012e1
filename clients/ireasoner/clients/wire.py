"""What is sent to the reward server and what comes back, as frozen dataclasses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Endpoint = Literal["outcome", "trajectory", "solver", "proposer"]
Detail = Literal["full", "rewards"]
Status = Literal["ok", "invalid", "abstain"]
Config = str | Mapping[str, object]
"""The name of a preset or registered config, or overrides on one: `{"preset": "paper", "alpha": 0.5}`."""


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
    """One parsed step. `cosine` is None if it was compared with nothing; `weight` is what it counts.

    `credit`, in [0, 1], is what it earned, and `place` where it stands in its group's sequence; both are
    None where the config makes them no more than (1 + cosine) / 2 and the step's index.
    """

    text: str
    cosine: float | None
    weight: float
    credit: float | None = None
    place: int | None = None


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
class Member:
    """One way in which an answer was written, how often, and the rules that told what it means."""

    answer: str
    count: int
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """An answer, after normalisation, and how many rollouts gave it.

    `members` tells how it was written if answers were compared by value.
    """

    answer: str
    count: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """One group's agreement with itself, and its rollouts in the order in which they were sent.

    `dominant_share` and `density` are in [0, 1]; `entropy_nats` is None if no rollout has a valid answer.
    `rollouts` is empty for the endpoint `proposer`, `clusters` unless detail is `full`. `not_compared` says
    which formulas could not be compared, and why; they count as different answers.
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
    not_compared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreResponse:
    """The answer to one request: its groups in the order in which they were sent.

    Two responses with the same `fingerprint` were scored by the same config, parser and embedder.
    """

    request_id: str
    fingerprint: str
    groups: tuple[ScoredGroup, ...]
