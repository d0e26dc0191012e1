"""The HTTP wire: what requests and responses contain. It changes only with `VERSION`."""

from collections import Counter
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ireasoner.reward_server.scoring_config import SIGNAL_NAME, ConfigOverrides, ScoringConfig

VERSION = "2.2.0"
"""Version of the wire, `info.version` in OpenAPI. The first number rises when older clients would fail."""

Status = Literal["ok", "invalid", "abstain"]
Detail = Literal["full", "rewards"]
FinishReason = Literal["stop", "length"]


def _whole(text: str) -> str:
    """Refuses half of a surrogate pair, which JSON can express and UTF-8 cannot."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"character {error.start} is half of a surrogate pair") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]
LARGEST_SIGNAL = 1e9
MAX_SIGNALS = 16
"""Signals of a rollout."""
Signal = Annotated[float, Field(ge=-LARGEST_SIGNAL, le=LARGEST_SIGNAL)]
Identity = Annotated[Text, Field(min_length=1, max_length=256)]

MAX_QUESTION_CHARACTERS = 65_536
MAX_LABEL_CHARACTERS = 4_096

EXAMPLE_TEXT = "<think>Step 1: The row reads 2, 4, 1.\nStep 2: 2 + 4 + 1 = 7.</think><answer>7</answer>"


class _Read(BaseModel):
    """Part of a request. Unknown fields, NaN, infinity and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Written(BaseModel):
    """Part of a response; it cannot contain NaN or infinity."""

    model_config = ConfigDict(allow_inf_nan=False, frozen=True)


class _Named(_Read):
    """Part of a request with an id."""

    id: Identity = Field(description="Echoed in the response; unique within its list.")


N = TypeVar("N", bound=_Named)


def _distinct(parts: list[N]) -> list[N]:
    """Refuses parts with the same id: their scores could not be told apart."""
    if len({part.id for part in parts}) < len(parts):
        [(twice, _)] = Counter(part.id for part in parts).most_common(1)
        raise ValueError(f"the id {twice!r} is used more than once")
    return parts


_TEXT_OR_PARSED: dict[str, Any] = {
    "oneOf": [
        {
            "required": ["text"],
            "properties": {"text": {"type": "string"}, "answer": {"type": "null"}, "steps": {"type": "null"}},
        },
        {
            "properties": {"text": {"type": "null"}, "answer_in_view": {"type": "null"}},
            "anyOf": [
                {"required": ["answer"], "properties": {"answer": {"type": "string"}}},
                {"required": ["steps"], "properties": {"steps": {"type": "array"}}},
            ],
        },
    ]
}
"""What `Rollout._text_or_parsed` accepts."""


class Rollout(_Named):
    """One sampled completion: either raw `text`, or `answer` and `steps` that the sender parsed."""

    model_config = ConfigDict(json_schema_extra=_TEXT_OR_PARSED)

    text: Text | None = Field(None, description="The completion, tags included.", examples=[EXAMPLE_TEXT])
    answer: Text | None = Field(None, description="The answer; null if there is none. Sent with `steps`.")
    steps: list[Text] | None = Field(
        None, fail_fast=True, description="The steps, without their numbers. Sent with `answer`."
    )
    finish_reason: FinishReason | None = Field(
        None,
        description="Why the completion ended, as the inference server reports it. After `stop`, an answer whose "
        "closing tag is missing counts as whole: a stop string is not part of the text. After `length`, or if this "
        "is omitted, it counts as cut off.",
    )
    answer_in_view: Text | None = Field(
        None,
        min_length=1,
        description="The answer to vote with instead of the answer in `text`, where that was mapped back from the "
        "rollout's view: `left` from a mirrored image is `right`. A text without an answer stays without one.",
    )
    view: Identity | None = Field(
        None,
        description="Name of the view of the question that the rollout answers, such as `mirrored`; see the config's "
        "`votes`. Rollouts without one share a view.",
    )
    rewarded: bool = Field(
        True, description="false: the rollout votes and its steps count, but it gets no reward."
    )
    signals: dict[Annotated[str, Field(pattern=SIGNAL_NAME)], Signal] | None = Field(
        None,
        max_length=MAX_SIGNALS,
        description="Numbers that the sender measured, by name, such as `self_certainty`: see the config's `outcome` "
        "and `judge`. Signals about probabilities refer to the distribution that the rollout was sampled from.",
        examples=[{"sum_logprob": -41.3, "judge": 0.7}],
    )

    @model_validator(mode="after")
    def _text_or_parsed(self) -> Self:
        if (self.text is None) == (self.answer is None and self.steps is None):
            raise ValueError("give either text, or answer and steps")
        if self.text is None and self.answer_in_view is not None:
            raise ValueError("answer_in_view goes with text; a parsed rollout has its answer in answer")
        return self


class Group(_Named):
    """All rollouts of one question about one image, which are scored against each other.

    No reward depends on `question`, `image` and `labels`: they are for the people who look at the ledger.
    """

    rollouts: Annotated[list[Rollout], AfterValidator(_distinct)] = Field(min_length=1)
    voters: Identity | None = Field(
        None,
        description="The id of the group of the same request whose rollouts judge this one's answers, such as those of "
        "a paraphrase or of a slow teacher. They vote with their own answers, whoever judges them: two groups may "
        "judge each other. A longer circle is refused.",
    )
    question: Text | None = Field(
        None, max_length=MAX_QUESTION_CHARACTERS, description="The question, for the ledger."
    )
    image: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the image's bytes, in hexadecimal, for the ledger; see `PUT /ledger/images/{sha256}`.",
    )
    labels: list[Annotated[Text, Field(max_length=MAX_LABEL_CHARACTERS)]] | None = Field(
        None,
        max_length=64,
        description="Right answers, where they are known: the ledger shows how often the dominant answer is one.",
    )


def _named(config: Any) -> Any:
    return {"preset": config} if isinstance(config, str) else config


Config = Annotated[ConfigOverrides, BeforeValidator(_named, json_schema_input_type=str | ConfigOverrides)]


class ScoreRequest(_Read):
    """Groups to score, and the config to score them with."""

    groups: Annotated[list[Group], AfterValidator(_distinct)] = Field(min_length=1)
    config: Config = Field(
        default_factory=ConfigOverrides,
        description="The name of a preset or registered config, or an object of overrides. Its optional field "
        "`preset` names the config to override.",
        examples=["paper", {"preset": "paper", "alpha": 0.5}],
    )
    detail: Detail = Field("full", description="`rewards` omits steps and clusters.")
    update: int | None = Field(
        None,
        ge=0,
        le=2**53 - 1,
        description="Number of the policy update that the groups are for, for the ledger.",
    )
    source: Identity | None = Field(
        None,
        description="Name of the run that sends the groups, for the ledger: one experiment can have several.",
    )
    record: bool = Field(
        True,
        description="false: the ledger keeps nothing of the request, which is scored all the same. For groups "
        "of no run, such as a check before its start.",
    )


class SolverRequest(ScoreRequest):
    """Groups to score for the Solver, whose reward depends on training progress."""

    progress: float = Field(1.0, ge=0, le=1, description="Training progress, 0 to 1.")


class Step(_Written):
    """One parsed step."""

    text: str
    cosine: float | None = Field(
        description="Cosine to the unit mean of the dominant rollouts' steps in the same slot; null if the step "
        "was not compared."
    )
    weight: float = Field(
        description="Weight of the step in the trajectory reward; 0 if it was not compared."
    )
    credit: float | None = Field(
        None, description="What the step earned, 0 to 1. Omitted where it is (1 + cosine) / 2."
    )
    place: int | None = Field(
        None,
        description="Slot of the step in the group's aligned sequence, from 0; null if it has none. Omitted where "
        "it is the step's index.",
    )


class ScoredRollout(_Written):
    """One rollout's rewards; `outcome` and `trajectory` are null if the endpoint does not compute them."""

    id: str
    status: Status = Field(
        description="`invalid`: the policy failed, and the reward is 0. `abstain`: the server could not judge the "
        "rollout, and the reward is null."
    )
    reason: str | None = Field(description="Why the status is not `ok`; null if it is `ok`.")
    answer: str | None = Field(description="The normalised answer; null if there is none.")
    reward: float | None = Field(
        description="The reward that the called endpoint computes. Null if the status is `abstain`, or if "
        "`rewarded` is false."
    )
    outcome: float | None
    trajectory: float | None
    rewarded: bool = Field(
        True,
        description="false if the rollout was sent as one that votes only: its rewards are null, and its status is "
        "`ok` or `invalid`. Omitted if true.",
    )
    components: dict[str, float] = Field(
        default_factory=dict,
        description="What the outcome reward was computed from: `consensus` is what the votes pay, `length`, `judge` "
        "(factors) and `format` (what was taken away) are there if the config has them, and the signal under its name "
        "if the reward is one. Omitted if the endpoint computes no outcome, or the rollout gets none.",
    )
    steps: list[Step] = Field(default_factory=list, description="Omitted unless `detail` is `full`.")


class Member(_Written):
    """One way in which the answer of a cluster was written."""

    answer: str = Field(description="As written, white space folded.")
    count: int
    rules: list[str] = Field(description="Rules that led to its canonical form, in order.")


class Cluster(_Written):
    """A normalised answer and the number of rollouts that gave it."""

    answer: str
    count: int
    members: list[Member] = Field(
        default_factory=list, description="How it was written. Omitted unless answers are compared by value."
    )


class ScoredGroup(_Written):
    """How far one group agrees with itself. It is `invalid` if none of its rollouts has an answer."""

    id: str
    status: Status
    dominant_answer: str | None
    tie: bool = Field(description="Whether another answer has the same weighted share as the dominant one.")
    dominant_share: float = Field(description="Share of the rollouts that gave the dominant answer, 0 to 1.")
    density: float = Field(
        description="`dominant_share`, weighted by `distinct_exponent`, to the power of `gamma`; 0 below "
        "`min_dominant_share`. With `step_scope` group the share of the rollouts with an answer takes its place."
    )
    entropy_nats: float | None = Field(description="Entropy of the answers, in nats; null if there are none.")
    proposer_reward: float | None = Field(description="The Proposer's reward for the question, 0 to 1.")
    clusters: list[Cluster] = Field(
        default_factory=list, description="The dominant answer first. Omitted unless `detail` is `full`."
    )
    not_compared: list[str] = Field(
        default_factory=list,
        description="Formulas that could not be compared, and why; they count as different answers. Omitted if "
        "there are none.",
    )
    hint: str | None = Field(
        None,
        description="What to change in the config if no rollout has an answer where `answer_from` looks for it, but "
        "the texts have answers in another form. Omitted if there is nothing to say.",
    )
    rollouts: list[ScoredRollout] = Field(
        default_factory=list, description="In the order sent. `/score/proposer` omits them."
    )


class ScoreResponse(_Written):
    """The scores of every group, in the order sent."""

    request_id: str
    fingerprint: str = Field(
        description="Scores with equal fingerprints come from the same config, parser, formulas and embedder."
    )
    groups: list[ScoredGroup]


class RegisteredConfig(_Written):
    """A config that requests can name."""

    name: str
    used: bool = Field(
        description="Whether something was scored with it, which fixes its meaning. True for presets."
    )
    config: ScoringConfig


class RegisteredConfigs(_Written):
    """Every config that requests can name."""

    configs: list[RegisteredConfig] = Field(description="Sorted by name.")


class Fault(_Written):
    """One fault of a request."""

    place: str = Field(description="Path of the fault, such as `groups[0].rollouts[1].text`.")
    reason: str


class Problem(_Written):
    """An error in the form of RFC 9457 (`application/problem+json`), with a stable code."""

    type: str = Field(description="`urn:ireasoner:problem:` followed by the code.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable across versions; compare this.")
    retryable: bool = Field(description="Whether sending the same request again can help.")
    errors: list[Fault] = Field(description="The faults of the request, if it is at fault.")
    request_id: str


class StoredImage(_Written):
    """An image that the ledger shows with the groups that name it."""

    sha256: str = Field(description="SHA-256 of its bytes, in hexadecimal.")
    bytes: int
    pixels: int


class Alive(_Written):
    """The process is alive."""

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
    reason: str | None = Field(description="Why not; null if ready.")
    embedder: str | None
    last_pass: LastPass | None
    queued_texts: int = Field(description="Distinct steps that are waiting or being embedded.")
    worker_restarts: int = Field(description="How often the embedding worker was restarted.")
