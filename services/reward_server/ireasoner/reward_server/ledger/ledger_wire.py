"""What the endpoints under `/ledger/` take and return."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ireasoner.reward_server.scoring_config import ScoringConfig
from ireasoner.reward_server.wire import Config, ScoredGroup, Text

Sort = Literal[
    "received_s",
    "reward",
    "outcome",
    "trajectory",
    "excess",
    "spread",
    "dominant_share",
    "entropy_nats",
    "proposer_reward",
    "words",
    "steps",
    "correct_share",
]
Order = Literal["desc", "asc"]
Flag = Literal["tie", "flat", "flipped", "abstained", "invalid", "right", "wrong"]
EndpointName = Literal["outcome", "trajectory", "solver", "proposer"]
Unit = Literal["update", "minute"]
ComparisonSort = Literal["change", "flips"]

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 in hexadecimal.")]
RecordIdText = Annotated[str, Field(max_length=24, examples=["0-17"])]
MAX_STEPS = 512
MAX_STEP_CHARACTERS = 20_000


class _Read(BaseModel):
    """Part of a request."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Written(BaseModel):
    """Part of a response."""

    model_config = ConfigDict(allow_inf_nan=False, frozen=True)


class Recording(_Written):
    """What the ledger holds of what the caller may see, and how recording goes."""

    groups: int = Field(description="Groups of all runs, without evicted ones; so are the rollouts.")
    rollouts: int
    bytes: int | None = Field(description="Size of the ledger's files; null for an experiment's token.")
    max_bytes: int | None = Field(description="Size at which the oldest groups are evicted, if it is known.")
    dropped: dict[str, int] = Field(
        description="Groups that were scored and not recorded, by reason, since the server started."
    )
    evicted_groups: int = Field(description="Groups that were removed to stay within the size.")
    is_recording: bool = Field(description="False for a ledger that is only read.")
    problem: str | None = Field(description="Why groups are not recorded now; null if they are.")


class Run(_Written):
    """What one source of one experiment sent."""

    id: str
    experiment: str = Field(description="`-` without tokens.")
    source: str = Field(description="`-` if requests name none.")
    groups: int = Field(
        description="Groups that were recorded, evicted ones included; so are the next three."
    )
    rollouts: int
    words: float = Field(description="Words of all rollouts.")
    first_s: float = Field(description="Arrival of its first group, in seconds since 1970.")
    last_s: float
    groups_per_minute: float | None = Field(
        description="Over the 5 minutes before its last group, or since its first one; null if its groups came within "
        "a second, as those of an import do."
    )
    last_update: int | None
    endpoint: EndpointName = Field(
        description="The endpoint that the next three are of: the first of solver, trajectory, outcome and proposer "
        "that the run called."
    )
    reward: list[float] = Field(
        description="The course of the mean reward, at most 48 numbers; the last one is that of the last update or "
        "minute that has it."
    )
    entropy_nats: list[float]
    dominant_share: list[float]
    evicted_groups: int


class Runs(_Written):
    """The runs that the caller may see, the one with the newest group first."""

    ledger: Recording
    runs: list[Run]


class Point(_Written):
    """Means over the groups of some updates or minutes; null where nothing is known."""

    at: int = Field(description="First update or minute.")
    until: int = Field(description="Last update or minute.")
    groups: int
    rollouts: int
    reward: float | None
    outcome: float | None
    trajectory: float | None
    proposer_reward: float | None
    entropy_nats: float | None
    dominant_share: float
    flat_share: float | None = Field(
        description="Share of the groups with rewards whose rewards are all equal."
    )
    tie_share: float
    abstained_share: float = Field(description="Share of the rollouts.")
    invalid_share: float = Field(description="Share of the rollouts.")
    words: float = Field(description="Mean per rollout.")
    steps: float | None = Field(description="Mean per rollout.")
    flip_share: float | None = Field(
        description="Share of the groups whose dominant answer differs from that of the question's previous group."
    )
    correct_share: float | None = Field(
        description="Share of the labelled groups whose dominant answer is right."
    )
    first_s: float
    last_s: float


class Timeline(_Written):
    """A run's figures over time."""

    unit: Unit
    endpoints: list[str] = Field(description="Endpoints that the run called.")
    points: list[Point]


class Summary(_Written):
    """A group's figures."""

    id: str
    run: str
    experiment: str
    source: str
    update: int | None
    received_s: float = Field(description="Arrival, in seconds since 1970.")
    endpoint: str
    progress: float
    name: str = Field(description="The id that the caller gave the group.")
    question_id: str | None = Field(
        description="Equal for groups of the run with the same question and image."
    )
    question: str | None
    image: str | None
    status: str
    dominant_answer: str | None
    tie: bool
    dominant_share: float
    density: float
    entropy_nats: float | None
    proposer_reward: float | None
    rollouts: int
    invalid: int = Field(description="Rollouts.")
    abstained: int = Field(description="Rollouts.")
    reward: float | None = Field(description="Mean over the rollouts that have one; so are the next two.")
    outcome: float | None
    trajectory: float | None
    excess: float | None = Field(description="Reward less outcome.")
    spread: float | None = Field(description="Largest less smallest reward.")
    words: float = Field(description="Mean per rollout.")
    steps: float | None = Field(description="Mean per rollout.")
    flipped: bool | None = Field(
        description="Whether the dominant answer differs from that of the question's previous group."
    )
    correct: bool | None = Field(description="Whether the dominant answer is one of the labels.")
    correct_share: float | None = Field(
        description="Share of the rollouts whose answer is one of the labels."
    )


class Groups(_Written):
    """A page of groups."""

    groups: list[Summary]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")
    is_complete: bool = Field(
        description="False if not all groups before the end of the page were searched. With `next`, enough was "
        "searched for one call: go on. Without it, the query has a text and another order than `received_s`, and "
        "only the newest 65,536 groups of a larger ledger were searched."
    )


class WholeGroup(Summary):
    """A group with everything that is known of it."""

    request_id: str
    config_label: str = Field(
        description="Name of the config; `+` marks one with overrides, and `unknown` that an imported file did not say."
    )
    config: dict[str, Any] = Field(
        description="All fields of the config; those of `paper` if the config is unknown."
    )
    fingerprint: str
    embedder: str
    step_weight: float | None = Field(
        description="Weight of the trajectory reward in the reward; null unless the endpoint is `solver` and the "
        "config is known."
    )
    labels: list[str] | None
    sent: dict[str, Any] = Field(description="The group as it was sent.")
    scored: ScoredGroup = Field(description="The group as it was scored, with `detail` full.")
    newer: str | None = Field(description="The run's next group.")
    older: str | None = Field(description="The run's previous group.")


class Neighbours(_Written):
    """Groups of the run with the same question or the same image, at most 20 each, the newest first."""

    same_question: list[Summary]
    same_image: list[Summary]


class StepTexts(_Read):
    """Steps to compare with each other."""

    steps: list[Annotated[Text, Field(max_length=MAX_STEP_CHARACTERS)]] = Field(
        min_length=1, max_length=MAX_STEPS
    )


class Cosines(_Written):
    """The cosine of each step to each, [steps, steps], to three digits; null if a step has no direction."""

    embedder: str
    cosines: list[list[float | None]]


class TwoConfigs(_Read):
    """A stored group, and two configs to score it with."""

    group: RecordIdText
    configs: list[Config] = Field(min_length=2, max_length=2, examples=[["paper", "robust"]])


class Rescored(_Written):
    """A stored group, scored anew."""

    config_label: str
    config: ScoringConfig
    fingerprint: str
    scored: ScoredGroup


class BothScored(_Written):
    """A stored group under two configs."""

    group: Summary
    scored: list[Rescored] = Field(description="One per config, in the order sent.")


class ComparisonState(_Written):
    """Stored groups that `ireasoner rescore` scored anew in bulk, as far as it is done."""

    name: str
    config: str = Field(description="Label of the config that the groups are scored with.")
    against: str | None = Field(
        description="Label of the config that they are compared with; null for the stored rewards."
    )
    created_s: float
    groups: int = Field(description="Groups to compare; for an experiment's token, those that are done.")
    done: int
    summary: dict[str, float | None] = Field(
        description="`rollouts`, `changed_rewards`, `changed_groups`, `rank_flips`, `groups_with_flips`, "
        "`changed_dominant_answers`, `failed`, and `correlation` of the rewards, null if it is not known."
    )


class Comparisons(_Written):
    """The comparisons of the ledger, the newest first."""

    comparisons: list[ComparisonState]


class ComparedGroup(_Written):
    """One group of a comparison."""

    group: Summary
    before: list[float | None] = Field(description="Rewards of the rollouts, in the order sent.")
    after: list[float | None]
    change: float = Field(description="Largest change of a reward.")
    rank_flips: int = Field(description="Pairs of rollouts whose order changed.")
    dominant_before: str | None
    dominant_after: str | None


class ComparedGroups(_Written):
    """A page of a comparison's groups; evicted ones are left out."""

    comparison: ComparisonState
    rows: list[ComparedGroup]
    next: str | None = Field(description="Cursor of the next page; null if this is the last.")


class AuditSign(_Written):
    """A sign that holds."""

    name: str
    figure: str
    reason: str = Field(description="What was found, in words.")
    since: int = Field(description="Update or minute since which it holds.")
    decides: bool = Field(description="Whether it alone makes the verdict `collapse likely`.")
    source: str = Field(description="The paper or reason that the threshold comes from.")


class AuditFigure(_Written):
    """A figure of a run."""

    name: str
    first: float | None = Field(description="Its mean over the first window.")
    now: float | None = Field(description="Its mean over the last window.")


class Audit(_Written):
    """Whether a run looks as if it collapses, and why; an audit, not an oracle."""

    run: str
    experiment: str
    source: str
    unit: Unit
    evicted_groups: int
    verdict: str = Field(description="`fine`, `collapse likely` or `too early`.")
    updates: int
    window: int = Field(description="Updates or minutes that are averaged.")
    signs: list[AuditSign]
    figures: list[AuditFigure]
