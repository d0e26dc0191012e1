"""The rows of the table: methods and controls, each a scoring config, a reward variant and settings of the trainer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ireasoner.reward_server.scoring_config import PAPER, PRESETS, ROBUST, ConfigOverrides, ScoringConfig
from replication.released_code_settings import ReferenceDefects


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: What it is called in files and on the command line.
        kind: A method, or a control that bounds or refutes one.
        meaning: What is rewarded, in a few words.
        preset: The scoring config that it starts from.
        overrides: The fields of the scoring config that differ from it.
        variant: What the Solver is trained on instead of its scores: a name of `replication.reward_variants`, or
            `module:function`.
        trainer: Settings of the trainer that differ from the plan's.
        trained: False for the base model, which is only examined.
    """

    name: str
    kind: Literal["method", "control"]
    meaning: str
    preset: Literal["paper", "robust"] = "paper"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    variant: str | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True

    @property
    def scoring_config(self) -> ScoringConfig:
        """The config that the reward server resolves the row to."""
        return ConfigOverrides(preset=self.preset, **self.overrides).on(PRESETS[self.preset])


ROBUST_PARTS = tuple(
    name for name in ScoringConfig.model_fields if getattr(ROBUST, name) != getattr(PAPER, name)
)
"""The switches in which `robust` differs from `paper`."""

DEFECTS = tuple(
    name
    for name in ReferenceDefects.model_fields
    if name not in ("frozen_proposer", "checkpoint_sampling_defaults")
)
"""The defects of the released code that have a row of their own: `frozen-proposer` is the row of one of the others, and
the other can do nothing here, since the tiny models' checkpoints have no sampling defaults."""


def _put_back(*defects: str) -> Mapping[str, Any]:
    """Settings of the trainer with these defects put back."""
    fields: dict[str, Any] = {"reference_defects": dict.fromkeys(defects, True)}
    return fields | ({"advantage": "moving_baseline"} if "one_moving_baseline" in defects else {})


_METHODS = (
    Row("base", "method", "the warm-started model, untrained", trained=False),
    Row("outcome-only", "method", "agreement on the answer (EvoLMM)", overrides={"lambda_max": 0.0}),
    Row(
        "step-only",
        "method",
        "agreement on the steps",
        overrides={"lambda_schedule": "constant", "lambda_max": 1.0},
    ),
    Row("full", "method", "the paper's mix"),
    Row("no-warm-up", "method", "full, the step reward phased in from the start", overrides={"warmup": 0.0}),
    Row("no-position-decay", "method", "full, late steps weigh the same", overrides={"position_decay": 0.0}),
    Row("no-density-weight", "method", "full, the step reward blind to the majority's size", overrides={"gamma": 0.0}),
    Row(
        "outcome-confident",
        "method",
        "outcome-only, of groups in which three in five agree",
        overrides={"lambda_max": 0.0, "min_dominant_share": 0.6},
    ),
    Row(
        "full-confident",
        "method",
        "full, of groups in which three in five agree",
        overrides={"min_dominant_share": 0.6},
    ),
    Row(
        "outcome-distinct",
        "method",
        "outcome-only, of different trajectories rather than of copies",
        overrides={"lambda_max": 0.0, "distinct_exponent": 0.75},
    ),
    Row(
        "outcome-distinct-confident",
        "method",
        "outcome-distinct, of groups in which half agree",
        overrides={"lambda_max": 0.0, "distinct_exponent": 0.75, "min_dominant_share": 0.5},
    ),
    Row("robust", "method", "our preset", preset="robust"),
    *(
        Row(
            f"robust-without-{part.replace('_', '-')}",
            "method",
            f"robust with the paper's {part}",
            preset="robust",
            overrides={part: getattr(PAPER, part)},
        )
        for part in ROBUST_PARTS
    ),
)  # fmt: skip

_CONTROLS = (
    Row("random", "control", "uniform draws, for both roles", trainer={"reward": {"control": "random"}}),
    Row(
        "constant-step-agreement",
        "control",
        "full, every majority rollout with its group's mean step reward",
        variant="constant_step_agreement",
    ),
    Row("true-answers", "control", "1 if the answer is true (upper bound)", variant="true_answers"),
    Row("format-only", "control", "1 if there are steps and an answer", variant="format_only"),
    Row("hard-majority", "control", "1 if the answer is the dominant one (TTRL)", variant="hard_majority"),
    Row(
        "images-shuffled",
        "control",
        "full, each rollout scored against answers to the same question about other images",
        variant="other_images",
    ),
    Row("frozen-proposer", "control", "full, questions of the untrained Proposer", trainer={"proposer_every": 0}),
    *(
        Row(
            f"full-with-{defect.replace('_', '-')}",
            "control",
            f"full, with the released code's {defect.replace('_', ' ')}",
            trainer=_put_back(defect),
        )
        for defect in DEFECTS
    ),
    Row(
        "reference-faithful",
        "control",
        "full, the released code's defects put back",
        overrides={"equivalence": "text", "ties": "one"},
        trainer=_put_back(*ReferenceDefects.model_fields),
    ),
)  # fmt: skip

ROWS: Mapping[str, Row] = {row.name: row for row in (*_METHODS, *_CONTROLS)}
"""Every row of the table, by name, in its order."""

QUICK_ROWS = ("outcome-only", "full")
"""What `make replicate-quick` trains."""

REFERENCES = ("base", "outcome-only", "full", "robust")
"""The rows that every other one is compared with, paired on seeds and questions."""
