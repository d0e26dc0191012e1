"""Requests to the reward server and its responses, as frozen dataclasses."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypedDict

MAJOR_VERSION = "2"
"""First number of the wire's version that this client speaks."""

Endpoint = Literal["outcome", "trajectory", "solver", "proposer"]
Detail = Literal["full", "rewards"]
Status = Literal["ok", "invalid", "abstain"]
FinishReason = Literal["stop", "length"]
Config = str | Mapping[str, object]
"""The name of a preset or registered config, or overrides on one: `{"preset": "paper", "alpha": 0.5}`."""


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 as the wire has it: 64 hexadecimal digits in lower case."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


@dataclass(frozen=True, slots=True)
class Rollout:
    """One sampled completion: its raw `text`, or the `answer` and `steps` of your own parser.

    `finish_reason` says why the completion ended, as the inference server reports it. After `stop`, an answer whose
    closing tag is missing counts as whole, since a stop string is not part of the text; otherwise it counts as cut off.

    A parsed rollout without `answer` is invalid.

    `answer_in_view` is the answer to vote with instead of the one in `text`, where that was mapped back from the
    rollout's `view` of the question. A rollout that is not `rewarded` votes, and gets no reward. `signals` are numbers
    that you measured, such as `{"self_certainty": 1.25}`.

    Raises ValueError if it has both or neither of text and parts, or another `finish_reason`.
    """

    id: str
    text: str | None = None
    answer: str | None = None
    steps: Sequence[str] | None = None
    finish_reason: FinishReason | None = None
    answer_in_view: str | None = None
    view: str | None = None
    rewarded: bool = True
    signals: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.finish_reason not in (None, "stop", "length"):
            raise ValueError(
                f"rollout {self.id!r}: finish_reason is {self.finish_reason!r}, not stop or length"
            )
        if (self.text is None) == (self.answer is None and self.steps is None):
            raise ValueError(f"rollout {self.id!r} needs either text, or answer and steps")
        if self.text is None and self.answer_in_view is not None:
            raise ValueError(f"rollout {self.id!r}: answer_in_view goes with text")


@dataclass(frozen=True, slots=True)
class Group:
    """All rollouts of one question about one image, which are scored against each other.

    `question`, `image` and `labels` are context, for the people who look at the server's ledger: no reward depends on
    it. `image` is the SHA-256 of the image's bytes in hexadecimal, as `RewardClient.put_image` returns it; `labels` are
    right answers. A question of more than 65,536 characters is cut off; more than 64 labels, or labels of more than
    4,096 characters, are left out.

    `voters` is the id of the group of the same request whose rollouts judge this one's answers.

    Raises ValueError if `image` is no SHA-256.
    """

    id: str
    rollouts: Sequence[Rollout]
    question: str | None = None
    image: str | None = None
    labels: Sequence[str] | None = None
    voters: str | None = None

    def __post_init__(self) -> None:
        if self.image is not None and not is_sha256(self.image):
            raise ValueError(
                f"group {self.id!r}: image is {self.image!r}, not a SHA-256 of 64 hexadecimal digits"
            )

    @property
    def has_context(self) -> bool:
        """Whether it holds a question, an image or labels."""
        return not (self.question is None and self.image is None and self.labels is None)


class ScoreOptions(TypedDict, total=False):
    """How groups are scored, and whose they are.

    Attributes:
        config: The name of a preset or registered config, or overrides on one; default `paper`.
        progress: Progress of the training, in [0, 1], for the endpoint `solver` only; the server's default is 1.
        detail: `rewards` leaves out steps and answer clusters; default `full`.
        update: Number of the policy update: context, like that of `Group`.
        source: Name of the run: context, like that of `Group`.
        record: False: the server's ledger keeps nothing of the request. A server that does not know this field keeps
            it, without its context.
    """

    config: Config
    progress: float | None
    detail: Detail
    update: int | None
    source: str | None
    record: bool


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What one request asks for; see `ScoreOptions`."""

    endpoint: Endpoint
    groups: Sequence[Group]
    config: Config = "paper"
    progress: float | None = None
    detail: Detail = "full"
    update: int | None = None
    source: str | None = None
    record: bool = True

    def __post_init__(self) -> None:
        """Raises TypeError if `groups` is not a sequence of groups: a Group is no dictionary."""
        if not isinstance(self.groups, Sequence) or isinstance(self.groups, str):
            raise TypeError(f"groups: expected a list of Group, not {type(self.groups).__name__}")
        for index, group in enumerate(self.groups):
            if not isinstance(group, Group):
                raise TypeError(
                    f"groups[{index}]: expected ireasoner.clients.Group, not {type(group).__name__}"
                )

    @property
    def has_context(self) -> bool:
        """Whether it holds anything that no reward depends on."""
        return (
            self.update is not None
            or self.source is not None
            or not self.record
            or any(group.has_context for group in self.groups)
        )

    def without_context(self) -> Self:
        """The same request without what no reward depends on."""
        groups = [replace(group, question=None, image=None, labels=None) for group in self.groups]
        return replace(self, groups=groups, update=None, source=None, record=True)


@dataclass(frozen=True, slots=True)
class ScoredStep:
    """One parsed step.

    Attributes:
        text: The step.
        cosine: To the unit mean of the dominant rollouts' steps at its position; None if it was not compared.
        weight: Its weight in the trajectory reward, 0 if it was not compared.
        credit: In [0, 1]: what it earned. None if the config defines it as (1 + cosine) / 2.
        place: Its slot in the aligned sequence of the group, from 0. None if it has none, or if the config defines
            it as the index of the step.
    """

    text: str
    cosine: float | None
    weight: float
    credit: float | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class ScoredRollout:
    """The reward of one rollout, and its parts.

    Attributes:
        id: As it was sent.
        status: `ok`; `invalid` (the policy's failure: reward 0 by definition); `abstain` (the server could not judge).
        reason: Why the status is not `ok`; else None.
        answer: The normalised answer, None if there is none.
        reward: The reward of the endpoint that was called; None if the status is `abstain`, or if it is not `rewarded`.
        outcome: The outcome reward, None if the endpoint does not compute it.
        trajectory: The trajectory reward, None if the endpoint does not compute it.
        steps: Empty unless detail is `full`.
        rewarded: False if it was sent as one that only votes; its rewards are then None, and that is no abstention.
        components: What the outcome reward was computed from, by name, such as `consensus` and `length`.
    """

    id: str
    status: Status
    reason: str | None
    answer: str | None
    reward: float | None
    outcome: float | None
    trajectory: float | None
    steps: tuple[ScoredStep, ...]
    rewarded: bool = True
    components: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """One spelling of an answer, how many rollouts used it, and the rules that found its value."""

    answer: str
    count: int
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """An answer cluster: a normalised answer, and how many rollouts gave it.

    `members` holds its spellings if answers were compared by value.
    """

    answer: str
    count: int
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """The agreement of one group, and its rollouts in the order in which they were sent.

    Attributes:
        id: As it was sent.
        status: `invalid` if no rollout has a valid answer, else `ok`.
        dominant_answer: The answer of the largest cluster, None without a valid answer.
        tie: Whether another answer has as large a weighed share as the dominant one.
        dominant_share: In [0, 1]: the share of the dominant answer.
        density: The dominant share after the config's weights and exponent, the factor of the trajectory reward.
        entropy_nats: Entropy of the answers, None if no rollout has a valid answer.
        proposer_reward: In [0, 1]: the Proposer's reward for the question.
        clusters: The dominant answer first; empty unless detail is `full`.
        rollouts: Empty for the endpoint `proposer`.
        not_compared: Formulas that could not be compared, and why; they count as different answers.
        hint: What the config seems to miss, such as answers that it does not read; None if nothing.
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
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreResponse:
    """The answer to one request, with its groups in the order in which they were sent.

    Two responses with the same `fingerprint` were scored by the same config, parser and embedder.
    """

    request_id: str
    fingerprint: str
    groups: tuple[ScoredGroup, ...]
