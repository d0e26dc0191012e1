"""The arms of the table: methods and controls, each a scoring config, a reward variant and settings of the trainer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ireasoner.reward_server.scoring_config import PAPER, PRESETS, ROBUST, ConfigOverrides, ScoringConfig
from replication.released_code_settings import ReferenceDefects


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm.

    Attributes:
        name: Its name in files and on the command line.
        kind: A method, or a control that bounds or refutes a method.
        meaning: What is rewarded, in a few words.
        preset: The scoring config that the overrides change.
        overrides: The fields of the scoring config that differ from the preset.
        variant: The control that replaces the Solver's scores: a name of `replication.reward_variants`; None trains on
            the scores, or on the reward that the trainer's `reward.function` names.
        trainer: Settings of the trainer that differ from those of the plan.
        trained: False for the base model, which is only evaluated.
    """

    name: str
    kind: Literal["method", "control"]
    meaning: str
    preset: str = "paper"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    variant: str | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True

    @property
    def scoring_config(self) -> ScoringConfig:
        """The scoring config that the reward server resolves for the arm."""
        return ConfigOverrides(preset=self.preset, **self.overrides).on(PRESETS[self.preset])


ROBUST_PARTS = tuple(
    name for name in ScoringConfig.model_fields if getattr(ROBUST, name) != getattr(PAPER, name)
)
"""The switches by which `robust` differs from `paper`."""

_COPIES: Mapping[str, Any] = {"distinct_exponent": 0.75}
"""What the preset `robust` had besides when the arms of the table were run."""

DEFECTS = tuple(
    name
    for name in ReferenceDefects.model_fields
    if name not in ("frozen_proposer", "checkpoint_sampling_defaults")
)
"""The properties of the released code that have an arm `full-with-...`.

The arm `frozen-proposer` covers a frozen Proposer. The checkpoints' sampling defaults have no arm, because those of the
tiny models have none."""


def _put_back(*defects: str) -> Mapping[str, Any]:
    """Settings of the trainer with these defects put back."""
    fields: dict[str, Any] = {"reference_defects": dict.fromkeys(defects, True)}
    return fields | ({"advantage": "moving_baseline"} if "one_moving_baseline" in defects else {})


_METHODS = (
    Arm("base", "method", "the warm-started model, untrained", trained=False),
    Arm("outcome-only", "method", "agreement on the answer (EvoLMM)", overrides={"lambda_max": 0.0}),
    Arm(
        "step-only",
        "method",
        "agreement on the steps",
        overrides={"lambda_schedule": "constant", "lambda_max": 1.0},
    ),
    Arm("full", "method", "the paper's mix"),
    Arm("no-warm-up", "method", "full, the step reward phased in from the start", overrides={"warmup": 0.0}),
    Arm("no-position-decay", "method", "full, all steps weigh the same", overrides={"position_decay": 0.0}),
    Arm(
        "no-density-weight",
        "method",
        "full, the step reward does not depend on the size of the majority",
        overrides={"gamma": 0.0},
    ),
    Arm(
        "outcome-confident",
        "method",
        "outcome-only, on groups in which at least 60% agree",
        overrides={"lambda_max": 0.0, "min_dominant_share": 0.6},
    ),
    Arm(
        "full-confident",
        "method",
        "full, on groups in which at least 60% agree",
        overrides={"min_dominant_share": 0.6},
    ),
    Arm(
        "outcome-distinct",
        "method",
        "outcome-only, copies of a trajectory count less",
        overrides={"lambda_max": 0.0, "distinct_exponent": 0.75},
    ),
    Arm(
        "outcome-distinct-confident",
        "method",
        "outcome-distinct, on groups in which at least half agree",
        overrides={"lambda_max": 0.0, "distinct_exponent": 0.75, "min_dominant_share": 0.5},
    ),
    Arm("robust", "method", "our preset as it was, copies count less", preset="robust", overrides=_COPIES),
    *(
        Arm(
            f"robust-without-{part.replace('_', '-')}",
            "method",
            f"robust as it was, with the paper's {part}",
            preset="robust",
            overrides={**_COPIES, part: getattr(PAPER, part)},
        )
        for part in ROBUST_PARTS
    ),
    Arm("robust-without-distinct-exponent", "method", "our preset", preset="robust"),
)  # fmt: skip

_CONTROLS = (
    Arm("random", "control", "uniform random rewards, for both roles", trainer={"reward": {"control": "random"}}),
    Arm(
        "constant-step-agreement",
        "control",
        "full, every rollout of the majority gets their mean step reward",
        variant="constant_step_agreement",
    ),
    Arm("true-answers", "control", "1 if the answer is true (upper bound)", variant="true_answers"),
    Arm("format-only", "control", "1 if there are steps and an answer", variant="format_only"),
    Arm("hard-majority", "control", "1 if the answer is the dominant one (TTRL)", variant="hard_majority"),
    Arm(
        "images-shuffled",
        "control",
        "full, each rollout scored against answers to the same question about other images",
        variant="other_images",
    ),
    Arm("frozen-proposer", "control", "full, the Proposer is not trained", trainer={"proposer_every": 0}),
    *(
        Arm(
            f"full-with-{defect.replace('_', '-')}",
            "control",
            f"full, with the released code's {defect.replace('_', ' ')}",
            trainer=_put_back(defect),
        )
        for defect in DEFECTS
    ),
    Arm(
        "reference-faithful",
        "control",
        "full, with the released code's defects",
        overrides={"equivalence": "text", "ties": "one"},
        trainer=_put_back(*ReferenceDefects.model_fields),
    ),
)  # fmt: skip

ARMS: Mapping[str, Arm] = {arm.name: arm for arm in (*_METHODS, *_CONTROLS)}
"""Every arm by name, in the order of the table."""

QUICK_ARMS = ("outcome-only", "full")
"""The arms that `make replicate-quick` trains."""

REFERENCES = ("base", "outcome-only", "full", "robust")
"""The arms that all others of a table are compared with, paired on seeds and questions, where the table has them."""
