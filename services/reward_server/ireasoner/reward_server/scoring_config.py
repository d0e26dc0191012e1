"""The scoring config: every constant and switch of the rewards, and the presets."""

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
AnswerFrom = Literal["tag", "boxed", "any"]
TagName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]


class ScoringConfig(BaseModel):
    """Everything that a reward depends on besides the rollouts, the parser and the embedder.

    The defaults are the paper's values (iReasoner, arXiv 2601.05877, on EvoLMM, arXiv 2511.16672). A request can
    override any field, so an ablation is a value of one of these fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    alpha: NonNegative = Field(0.7, description="Exponent of the answer's share in the outcome reward.")
    eta: Share = Field(
        0.05,
        description="Largest share of the outcome reward that the length penalty takes away. 0: no penalty.",
    )
    tau_words: float = Field(
        64.0,
        gt=0,
        le=1e6,
        description="Number of words before the answer at which the length penalty starts; it is full at twice that.",
    )
    gamma: NonNegative = Field(
        0.7,
        description="Exponent of the dominant share in the density, a factor of the step reward. 0: no factor.",
    )
    position_decay: NonNegative = Field(
        0.15, description="Rate per step at which later steps weigh less. 0: all weigh the same."
    )
    max_steps: int = Field(
        8, ge=1, le=64, description="Number of steps that are read from each rollout; later ones are ignored."
    )
    min_position_members: int = Field(
        2,
        ge=2,
        le=10_000,
        description="Rollouts with the dominant answer that must have a step in a slot for it to be used. If fewer "
        "gave that answer, the step reward is 0.",
    )
    lambda_max: Share = Field(0.7, description="Weight of the step reward at the end of training.")
    lambda_schedule: Literal["linear", "constant"] = Field(
        "linear",
        description="Weight of the step reward during training. linear: 0 up to `warmup`, then rising to "
        "`lambda_max`; constant: always `lambda_max`.",
    )
    warmup: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="Progress up to which the step reward has no weight. 0: it rises at once.",
    )
    entropy_target_nats: NonNegative = Field(
        0.9,
        description="Answer entropy at which the Proposer's reward is 1. The paper's value is for groups of 5.",
    )
    entropy_width_nats: float = Field(
        0.35, gt=0, le=1e6, description="Width of the Proposer's Gaussian around the target."
    )

    entropy_scale: Literal["nats", "ln_n"] = Field(
        "nats",
        description="nats: target and width are used as given; ln_n: both times ln N / ln 5 for a group of N.",
    )
    step_means: Literal["all", "leave_one_out"] = Field(
        "all",
        description="all: a step is compared with a mean that includes it; leave_one_out: with the mean of the others.",
    )
    centring: Literal["none", "group"] = Field(
        "none",
        description="none: step embeddings are used as they are; group: the mean of the group's compared steps is "
        "subtracted from them.",
    )
    cosine_floor: float = Field(
        -1.0,
        ge=-1,
        le=0.99,
        description="Cosine up to which a step earns nothing. Above it the credit rises linearly to 1.",
    )
    alignment: Literal["index", "monotonic"] = Field(
        "index",
        description="index: steps with the same index are compared; monotonic: steps are aligned, in order, to the "
        "slots of a prototype sequence, and those in the same slot are compared.",
    )
    coverage: Literal["own", "union"] = Field(
        "own",
        description="Steps that a rollout's credit is averaged over. own: its compared steps; union: also the "
        "group's slots that it lacks and its steps without a slot, which earn nothing.",
    )
    min_steps: int = Field(
        0,
        ge=0,
        le=64,
        description="Distinct steps below which the step reward falls in proportion. 0: no minimum.",
    )
    distinct_exponent: NonNegative = Field(
        0.0,
        description="Exponent of the share of distinct trajectories among an answer's rollouts; the answer's own "
        "share is multiplied by the result. 0: copies count as much as independent rollouts.",
    )
    min_dominant_share: Share = Field(
        0.0,
        description="Dominant share below which a group has no consensus. All rewards of its rollouts are then 0, "
        "so a group-relative method learns nothing from it. 0: every group counts.",
    )
    ties: Literal["one", "shared"] = Field(
        "one",
        description="one: one of the tied answers is dominant, and only its rollouts get a step reward; "
        "shared: the rollouts of every tied answer get theirs, divided by the number of tied answers.",
    )
    equivalence: Literal["text", "value"] = Field(
        "text",
        description="text: answers are equal if their normalised texts are; value: if they mean the same.",
    )
    percent: Literal["distinct", "fraction"] = Field(
        "distinct", description="With `equivalence` value: fraction makes 50% and 0.5 the same answer."
    )
    units: Literal["distinct", "ignored"] = Field(
        "distinct", description="With `equivalence` value: ignored makes 5 cm, 5 kg and 5 the same answer."
    )

    think_tag: TagName = Field("think", description="Name of the element that contains the steps.")
    answer_tag: TagName = Field("answer", description="Name of the element that contains the answer.")
    step_tag: TagName = Field(
        "step", description="Name of the element that is one step, if steps are elements."
    )
    answer_from: AnswerFrom = Field(
        "tag",
        description="Where the answer is read from. tag: its element; boxed: the last \\boxed{}; any: the first of "
        "its element, the last \\boxed{}, a stated answer (`answer: 7`) and a bare last line (`C`) that exists.",
    )

    @property
    def explains_steps(self) -> bool:
        """Whether a step's credit and slot differ from what its cosine and index imply."""
        return self.alignment != "index" or self.cosine_floor != -1.0


class ConfigOverrides(ScoringConfig):
    """A config by name, and the fields that differ from it."""

    preset: str = Field("paper", description="The preset or registered config to start from.")

    def on(self, preset: ScoringConfig) -> ScoringConfig:
        """`preset` with the fields that were set here."""
        overrides = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        return preset.model_copy(update=overrides)


@lru_cache(maxsize=1_024)
def as_json(config: ScoringConfig) -> str:
    """A config as JSON, one string for all requests with it."""
    return config.model_dump_json()


PAPER = ScoringConfig()
"""The formulas of iReasoner, to the letter."""

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
"""Our improvement on the paper's formulas."""

PRESETS: dict[str, ScoringConfig] = {"paper": PAPER, "robust": ROBUST}
"""The configs that a request can name without registering them."""
