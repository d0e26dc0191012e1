"""The HTTP wire: what requests and responses contain. It changes only with `VERSION`."""

from collections import Counter
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ireasoner.reward_server.scoring_config import ConfigOverrides, ScoringConfig

VERSION = "2.0.0"
"""Version of the wire, `info.version` in OpenAPI. The first number rises when older clients would fail."""

Status = Literal["ok", "invalid", "abstain"]
Detail = Literal["full", "rewards"]


def _whole(text: str) -> str:
    """Refuses half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"character {error.start} is half of a surrogate pair") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]
Identity = Annotated[Text, Field(min_length=1, max_length=256)]

EXAMPLE_TEXT = "<think>Step 1: The row reads 2, 4, 1.\nStep 2: 2 + 4 + 1 = 7.</think><answer>7</answer>"


class _Read(BaseModel):
    """Part of a request: unknown fields, NaN, infinity and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Written(BaseModel):
    """Part of an answer; NaN and infinity cannot be in one."""

    model_config = ConfigDict(allow_inf_nan=False, frozen=True)


class _Named(_Read):
    """Part of a request that is echoed by its id."""

    id: Identity = Field(description="Echoed in the answer; no two of a list are equal.")


N = TypeVar("N", bound=_Named)


def _distinct(parts: list[N]) -> list[N]:
    """Refuses two parts of one id: their answers could not be told apart by it."""
    if len({part.id for part in parts}) < len(parts):
        [(twice, _)] = Counter(part.id for part in parts).most_common(1)
        raise ValueError(f"the id {twice!r} stands here more than once")
    return parts


class Rollout(_Named):
    """One sampled completion: raw `text`, or `answer` and `steps` that were parsed before."""

    text: Text | None = Field(None, description="The completion, tags included.", examples=[EXAMPLE_TEXT])
    answer: Text | None = Field(None, description="The answer; null if there is none. Goes with `steps`.")
    steps: list[Text] | None = Field(None, description="The steps, without their numbers.")

    @model_validator(mode="after")
    def _text_or_parsed(self) -> Self:
        if (self.text is None) == (self.answer is None and self.steps is None):
            raise ValueError("give either text, or answer and steps")
        return self


class Group(_Named):
    """All rollouts of one question about one image; they are scored against each other."""

    rollouts: Annotated[list[Rollout], AfterValidator(_distinct)] = Field(min_length=1)


def _named(config: Any) -> Any:
    return {"preset": config} if isinstance(config, str) else config


Config = Annotated[ConfigOverrides, BeforeValidator(_named, json_schema_input_type=str | ConfigOverrides)]


class ScoreRequest(_Read):
    """Groups to score, and by what."""

    groups: Annotated[list[Group], AfterValidator(_distinct)] = Field(min_length=1)
    config: Config = Field(
        default_factory=ConfigOverrides,
        description="The name of a preset or registered config, or an object of overrides with an optional "
        "`preset`, which is such a name.",
        examples=["paper", {"preset": "paper", "alpha": 0.5}],
    )
    detail: Detail = Field("full", description="`rewards` leaves out steps and clusters.")


class SolverRequest(ScoreRequest):
    """Groups to score for the Solver, whose reward depends on how far the training has come."""

    progress: float = Field(1.0, ge=0, le=1, description="Progress of the training, 0 to 1.")


class Step(_Written):
    """One step as it was parsed."""

    text: str
    cosine: float | None = Field(
        description="To the unit mean of the dominant rollouts' steps at this position; null if not compared."
    )
    weight: float = Field(description="Its weight in the trajectory reward; 0 if not compared.")
    credit: float | None = Field(
        None, description="What it earned, 0 to 1. Left out where it is (1 + cosine) / 2."
    )
    place: int | None = Field(
        None,
        description="Its place in the group's sequence; null if it has none. Left out where it is its index.",
    )


class ScoredRollout(_Written):
    """One rollout's rewards; `outcome` and `trajectory` are null where the endpoint does not compute them."""

    id: str
    status: Status = Field(
        description="`invalid`: the policy's own failure, reward 0; `abstain`: not to be judged, reward null."
    )
    reason: str | None = Field(description="Why the status is not `ok`; null if it is.")
    answer: str | None = Field(description="The normalised answer; null if there is none.")
    reward: float | None = Field(description="The reward of the endpoint that was called.")
    outcome: float | None
    trajectory: float | None
    steps: list[Step] = Field(default_factory=list, description="Left out unless `detail` is `full`.")


class Member(_Written):
    """One way in which a cluster's answer was written."""

    answer: str = Field(description="As it was written, white space folded.")
    count: int
    rules: list[str] = Field(description="What was applied to find what it means, in that order.")


class Cluster(_Written):
    """A normalised answer and the number of rollouts that gave it."""

    answer: str
    count: int
    members: list[Member] = Field(
        default_factory=list, description="How it was written. Left out unless answers are compared by value."
    )


class ScoredGroup(_Written):
    """One group's agreement with itself. `invalid`: none of its rollouts has an answer."""

    id: str
    status: Status
    dominant_answer: str | None
    tie: bool = Field(description="Whether another answer has as large a weighed share as the dominant one.")
    dominant_share: float = Field(description="Share of the group that gave the dominant answer, 0 to 1.")
    density: float = Field(
        description="`dominant_share`, weighed as `distinct_exponent` says, to the power of `gamma`; 0 below "
        "`min_dominant_share`."
    )
    entropy_nats: float | None = Field(description="Entropy of the answers; null if there are none.")
    proposer_reward: float | None = Field(description="The Proposer's reward for the question, 0 to 1.")
    clusters: list[Cluster] = Field(
        default_factory=list, description="The dominant answer first. Left out unless `detail` is `full`."
    )
    not_compared: list[str] = Field(
        default_factory=list,
        description="Formulas that could not be compared, and why: they count as different answers. Left out "
        "if there are none.",
    )
    rollouts: list[ScoredRollout] = Field(
        default_factory=list, description="In the order sent. Left out by `/score/proposer`."
    )


class ScoreResponse(_Written):
    """Every group's scores, in the order sent."""

    request_id: str
    fingerprint: str = Field(
        description="Equal fingerprints: scored by the same config, parser, formulas and embedder."
    )
    groups: list[ScoredGroup]


class RegisteredConfig(_Written):
    """A config that requests can name."""

    name: str
    used: bool = Field(description="Whether it was used for scoring, and so is fixed; presets always are.")
    config: ScoringConfig


class RegisteredConfigs(_Written):
    """Every config that requests can name."""

    configs: list[RegisteredConfig] = Field(description="By name.")


class Fault(_Written):
    """One thing that is wrong with a request."""

    place: str = Field(description="Where, like `groups[0].rollouts[1].text`.")
    reason: str


class Problem(_Written):
    """An error, as RFC 9457 (`application/problem+json`) has it, with a stable code."""

    type: str = Field(description="`urn:ireasoner:problem:` and the code.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; fit for a comparison.")
    retryable: bool = Field(description="Whether sending the same request again can help.")
    errors: list[Fault] = Field(description="Places and reasons, if the request is at fault.")
    request_id: str


class Alive(_Written):
    """The process answers."""

    alive: Literal[True] = True


class LastPass(_Written):
    """The embedder's most recent forward pass."""

    ok: bool
    age_s: float
    texts: int
    error: str | None


class Readiness(_Written):
    """Whether requests can be scored now."""

    ready: bool
    reason: str | None = Field(description="Why not.")
    embedder: str | None
    last_pass: LastPass | None
    queued_texts: int = Field(description="Distinct steps that wait or are being embedded.")
    worker_restarts: int = Field(description="How often the embedding worker had to be started again.")
