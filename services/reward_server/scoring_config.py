"""The scoring config: every constant of the rewards, and the presets that give it values."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]


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
    min_dominant: int = Field(
        2, ge=2, le=10_000, description="Rollouts with the dominant answer below which the step reward is 0."
    )
    min_position_members: int = Field(
        2, ge=2, le=10_000, description="Of these, how many must have a step at a position for it to be used."
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


class ConfigOverrides(ScoringConfig):
    """A preset and the fields that are to differ from it."""

    preset: str = Field("paper", description="The preset to start from.")

    def on(self, preset: ScoringConfig) -> ScoringConfig:
        """`preset` with the fields that were set here."""
        overrides = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        return preset.model_copy(update=overrides)


PRESETS: dict[str, ScoringConfig] = {"paper": ScoringConfig()}
"""What a request's `config` may name. `paper`: method.md's formulas to the letter."""
