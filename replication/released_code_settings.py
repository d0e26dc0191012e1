"""The settings of a run that puts defects of the paper's released code back."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import SettingsConfigDict

from ireasoner.trainer.settings import RunSettings


class ReferenceDefects(BaseModel):
    """Properties of the code released with the paper, put back to measure their effect.

    Each is a defect, except that a moving baseline is the published estimator: see `one_moving_baseline`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    frozen_proposer: bool = False
    """Wrong: the Proposer's gradient is lost before its step, so it never moves."""
    kl_to_itself: bool = False
    """Wrong: the KL reference is the policy itself, so KL is 0, and an adaptive coefficient falls to its bound."""
    no_image_in_gradient: bool = False
    """Wrong: the training forward pass lacks the image, so the gradient is that of a text-only policy."""
    checkpoint_sampling_defaults: bool = False
    """Wrong: top_k and repetition_penalty come from the checkpoint's generation_config."""
    retokenised_completions: bool = False
    """Wrong: completions are decoded, stripped and tokenised again; their end-of-sequence token is not trained."""
    one_moving_baseline: bool = False
    """The moving baseline moves with every rollout, as in EvoLMM's code, so advantages depend on the order of rollouts.
    The baseline itself is the published estimator."""
    adapters_on_vision_tower: bool = False
    """Wrong: layers of the vision tower get adapters too, which vLLM ignores, so the sampled policy is another one."""

    @property
    def put_back(self) -> list[str]:
        """The names of the defects that are on."""
        return [name for name in type(self).model_fields if getattr(self, name)]


class ReleasedCodeSettings(RunSettings):
    """Train with defects of the paper's released code put back: an ablation, not a method."""

    model_config = SettingsConfigDict(cli_prog_name="python -m replication.released_code")

    reference_defects: ReferenceDefects = Field(default_factory=ReferenceDefects)
    """Properties of the released code, put back. All off by default."""

    @model_validator(mode="after")
    def _moving_baseline_is_used(self) -> Self:
        if self.reference_defects.one_moving_baseline and self.advantage != "moving_baseline":
            raise ValueError(
                'reference_defects.one_moving_baseline needs advantage = "moving_baseline", which it changes'
            )
        return self
