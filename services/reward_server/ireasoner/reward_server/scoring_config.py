"""The scoring config: every constant of the rewards, and the presets that give it values."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
TagName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]


class ScoringConfig(BaseModel):
    """Everything that a reward depends on besides the rollouts, the parser and the embedder.

    The defaults are the paper's values (iReasoner, arXiv 2601.05877, on EvoLMM, arXiv 2511.16672). Any field
    can be set in a request; ablations are values of these fields, as their descriptions say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    alpha: NonNegative = Field(0.7, description="Exponent of the answer's share in the outcome reward.")
    eta: Share = Field(
        0.05, description="Largest part of the outcome reward that length takes away; 0: none."
    )
    tau_words: float = Field(
        64.0,
        gt=0,
        le=1e6,
        description="Words before the answer from which the length penalty grows, up to twice as many.",
    )
    gamma: NonNegative = Field(
        0.7, description="Exponent of the density of the dominant answer; 0: no density weight."
    )
    position_decay: NonNegative = Field(
        0.15, description="Rate, a step, at which a later step weighs less; 0: all weigh the same."
    )
    max_steps: int = Field(8, ge=1, le=64, description="Steps of a rollout that are read, from its first.")
    min_position_members: int = Field(
        2,
        ge=2,
        le=10_000,
        description="Rollouts with the dominant answer that must have a step at a position for it to be used. "
        "If fewer gave that answer, the step reward is 0.",
    )
    lambda_max: Share = Field(0.7, description="Weight of the step reward at the end of training.")
    lambda_schedule: Literal["linear", "constant"] = Field(
        "linear",
        description="linear: 0 up to `warmup`, then rising to `lambda_max`; constant: always `lambda_max`.",
    )
    warmup: float = Field(
        0.3, ge=0, lt=1, description="Progress up to which the step reward has no weight; 0: rises at once."
    )
    entropy_target_nats: NonNegative = Field(
        0.9, description="Answer entropy at which the Proposer's reward is 1; the paper's is for groups of 5."
    )
    entropy_width_nats: float = Field(
        0.35, gt=0, le=1e6, description="Width of the Gaussian around the target."
    )

    entropy_scale: Literal["nats", "ln_n"] = Field(
        "nats",
        description="nats: target and width are as they stand; ln_n: both times ln N / ln 5, for a group of N.",
    )
    step_means: Literal["all", "leave_one_out"] = Field(
        "all",
        description="all: a step is compared with a mean that it is part of; leave_one_out: with the others'.",
    )
    centring: Literal["none", "group"] = Field(
        "none",
        description="What is subtracted from step embeddings: nothing, or the mean of the group's compared steps.",
    )
    cosine_floor: float = Field(
        -1.0,
        ge=-1,
        le=0.99,
        description="Cosine up to which a step earns nothing; from there its credit rises linearly to 1.",
    )
    alignment: Literal["index", "monotonic"] = Field(
        "index",
        description="index: the first step is compared with first steps, and so on; monotonic: each step with "
        "the place in the group's prototype sequence that it fits best, order kept.",
    )
    coverage: Literal["own", "union"] = Field(
        "own",
        description="What a rollout's credits are averaged over. own: its compared steps; union: those, the "
        "places of the group that it lacks and its steps that have no place, which earn nothing.",
    )
    min_steps: int = Field(
        0, ge=0, le=64, description="Distinct steps below which the step reward falls in proportion; 0: none."
    )
    distinct_exponent: NonNegative = Field(
        0.0,
        description="Exponent of the share of distinct trajectories among the rollouts with one answer, by "
        "which that answer's share is weighed; 0: copies weigh as much as independent rollouts.",
    )
    min_dominant_share: Share = Field(
        0.0,
        description="Share of the dominant answer below which a group has no consensus: all rewards of its "
        "rollouts are 0, so that a group-relative method learns nothing from it; 0: every group counts.",
    )
    ties: Literal["one", "shared"] = Field(
        "one",
        description="one: of tied answers one is dominant, and only its rollouts get a step reward; shared: "
        "the rollouts of every tied answer get theirs, divided by the number of tied answers.",
    )
    equivalence: Literal["text", "value"] = Field(
        "text",
        description="text: answers are the same if their normalised texts are; value: if they mean the same.",
    )
    percent: Literal["distinct", "fraction"] = Field(
        "distinct", description="With equivalence by value: fraction makes 50% and 0.5 the same answer."
    )
    units: Literal["distinct", "ignored"] = Field(
        "distinct", description="With equivalence by value: ignored makes 5 cm, 5 kg and 5 the same answer."
    )

    think_tag: TagName = Field("think", description="Name of the element that holds the steps.")
    answer_tag: TagName = Field("answer", description="Name of the element that holds the answer.")
    step_tag: TagName = Field(
        "step", description="Name of the element that is one step, where there are any."
    )
    answer_from: Literal["tag", "boxed", "any"] = Field(
        "tag",
        description="Where the answer is: in its element, in the last \\boxed{}, or in the first of these "
        "that there is.",
    )

    @property
    def explains_steps(self) -> bool:
        """Whether a step's credit and place are more than its cosine and index say."""
        return self.alignment != "index" or self.cosine_floor != -1.0


class ConfigOverrides(ScoringConfig):
    """A preset and the fields that are to differ from it."""

    preset: str = Field("paper", description="The preset or registered config to start from.")

    def on(self, preset: ScoringConfig) -> ScoringConfig:
        """`preset` with the fields that were set here."""
        overrides = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        return preset.model_copy(update=overrides)


PAPER = ScoringConfig()
"""method.md's formulas to the letter."""

ROBUST = ScoringConfig(
    entropy_scale="ln_n",
    step_means="leave_one_out",
    centring="group",
    cosine_floor=0.0,
    alignment="monotonic",
    coverage="union",
    min_steps=3,
    distinct_exponent=0.75,
    ties="shared",
    equivalence="value",
)
"""Our improvement on it. Each group's scores still depend on that group alone."""

PRESETS: dict[str, ScoringConfig] = {"paper": PAPER, "robust": ROBUST}
"""What a request's `config` may name without having registered it."""
