"""The scoring config: every constant and switch of the rewards, and the presets."""

from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
AnswerFrom = Literal["tag", "boxed", "any"]
SIGNAL_NAME = r"^[a-z][a-z0-9_]{0,63}$"
SignalName = Annotated[str, Field(pattern=SIGNAL_NAME)]
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

    outcome: Literal["share", "majority", "signal"] = Field(
        "share",
        description="What the outcome reward pays. share: the answer's share of the votes, to the power of `alpha`; "
        "majority: 1 for the dominant answer, 1/m for each of m tied ones, 0 for all others; signal: the rollout's "
        "`signal`, in which neither votes nor length count.",
    )
    votes: Literal["own", "pooled", "cross", "voters"] = Field(
        "own",
        description="Whose votes judge an answer. own: the rollouts with the same `view`; pooled: all rollouts of the "
        "group; cross: the rollouts of the other views. All three take the rollouts of the group that `voters` names, "
        "if it names one. voters: all rollouts of that group; without one, the rollouts abstain.",
    )
    label: Literal["mode", "unique_mode"] = Field(
        "mode",
        description="Which votes judge at all. mode: all; unique_mode: only those with a single most frequent answer "
        "that has two votes or more. Rollouts without a judge abstain.",
    )
    entropy_low: Share = Field(
        0.0,
        description="Least entropy of the votes of M voters, as a share of ln M. Rollouts judged by votes outside the "
        "bounds abstain. 0: no bound.",
    )
    entropy_high: Share = Field(
        1.0, description="Largest entropy of the votes, as a share of ln M. 1: no bound."
    )
    hard_above: Share = Field(
        1.0,
        description="With `outcome` share: dominant share above which the dominant answer pays 1 and all others 0. "
        "1: never.",
    )
    judge: Literal["off", "bounded"] = Field(
        "off",
        description="With `outcome` share or majority. bounded: the outcome reward is multiplied by a factor from 0.8 "
        "to 1.2, which rises with the signal `judge`, and kept within 0 to 1.",
    )
    format_penalty: Share = Field(
        0.0,
        description="With `outcome` share or majority: what the outcome reward, which stays at least 0, loses where a "
        "text is not closed thinking followed by an answer.",
    )
    signal: SignalName = Field("self_certainty", description="With `outcome` signal: the name of the signal.")
    signal_as: Literal["value", "minus", "ratio"] = Field(
        "value",
        description="How `signal` is paid. value: as it is; minus: with the opposite sign; ratio: as exp(signal) "
        "divided by the largest one of the group, for log-probabilities.",
    )
    proposer: Literal["entropy", "midpoint"] = Field(
        "entropy",
        description="What the Proposer is paid for. entropy: an answer entropy near the target; midpoint: a dominant "
        "share p near one half, 1 - 2 |p - 1/2|.",
    )
    step_scope: Literal["answer", "group"] = Field(
        "answer",
        description="Whose steps are compared. answer: those of the rollouts with the dominant answer, which alone get "
        "a step reward; group: those of all rollouts with an answer, whatever it is, and all of them get one. The "
        "density is then that of their share, and `ties` has no effect on the step reward.",
    )

    @property
    def explains_steps(self) -> bool:
        """Whether a step's credit and slot differ from what its cosine and index imply."""
        return self.alignment != "index" or self.cosine_floor != -1.0

    @property
    def later_fields(self) -> dict[str, Any]:
        """The `LATER_FIELDS` that differ from their defaults, under which they change nothing."""
        fields = type(self).model_fields
        values = {name: getattr(self, name) for name in LATER_FIELDS}
        return {name: value for name, value in values.items() if value != fields[name].default}


LATER_FIELDS = (
    "outcome",
    "votes",
    "label",
    "entropy_low",
    "entropy_high",
    "hard_above",
    "judge",
    "format_penalty",
    "signal",
    "signal_as",
    "proposer",
    "step_scope",
)
"""Fields of wire 2.2 and later. A config with their defaults keeps the fingerprint that it had before them."""


class ConfigOverrides(ScoringConfig):
    """A config by name, and the fields that differ from it."""

    preset: str = Field("paper", description="The preset or registered config to start from.")

    @property
    def config_label(self) -> str:
        """The config's name, with a `+` if any field of it is overridden, by whatever value."""
        return f"{self.preset}+" if self.model_fields_set - {"preset"} else self.preset

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
    ties="shared",
    equivalence="value",
)
"""Our improvement on the paper's formulas."""

_ANSWERS_ONLY = ScoringConfig(alpha=1.0, eta=0.0, lambda_max=0.0, equivalence="value")
"""No step part and no length penalty, and answers are equal by value: methods then differ in their rules alone."""


def _answers_only(**fields: Any) -> ScoringConfig:
    return _ANSWERS_ONLY.model_copy(update=fields)


PRESETS: dict[str, ScoringConfig] = {
    "paper": PAPER,
    "robust": ROBUST,
    "ttrl": _answers_only(outcome="majority"),
    "ttrl-strict": _answers_only(outcome="majority", label="unique_mode"),
    "empo": _ANSWERS_ONLY,
    "self-certainty": _answers_only(outcome="signal", signal="self_certainty"),
    "entropy-minimisation": _answers_only(outcome="signal", signal="mean_token_entropy", signal_as="minus"),
    "sequence-probability": _answers_only(outcome="signal", signal="sum_logprob", signal_as="ratio"),
    "co-rewarding": _answers_only(outcome="majority", votes="voters"),
    "judge-bounded": _answers_only(hard_above=0.85, judge="bounded", format_penalty=0.5),
    "views": _answers_only(alpha=PAPER.alpha, eta=PAPER.eta, votes="cross"),
}
"""The configs that a request can name without registering them; docs/presets.md gives the source of each."""
