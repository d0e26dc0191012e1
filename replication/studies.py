"""The studies: arms for one question each, beside those of the table, with their own task, questions and seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from replication.arms import ARMS, Arm

StudyName = Literal[
    "estimators",
    "readings",
    "readings-early",
    "views",
    "views-sums",
    "teacher",
    "copies",
    "repetition",
    "paper",
]


@dataclass(frozen=True, slots=True)
class Study:
    """Arms that answer one question, with their predictions on docs/replication/predictions.md.

    Attributes:
        question: What it asks, in one sentence.
        table: Names of the arms that it takes from the table.
        own: Its own arms, which are not in the table.
        settings: The settings of the command that it sets, by name.
    """

    question: str
    table: tuple[str, ...] = ()
    own: tuple[Arm, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of its arms, in the order of its results."""
        return [*self.table, *(arm.name for arm in self.own)]


_ESTIMATORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "moving-baseline": ("advantages minus a moving baseline", {"advantage": "moving_baseline"}),
    "unscaled": (
        "advantages not divided by the group's spread",
        {"grpo": {"scale_rewards": "none"}},
    ),
}
"""What each estimator of the study is, and the settings of the trainer that choose it."""

_STEPS_OF_THE_GROUP = Arm(
    "step-only-group",
    "method",
    "agreement on the steps, with the steps of the whole group",
    overrides={**ARMS["step-only"].overrides, "step_scope": "group"},
)

_EARLY_UPDATES = 36
"""Half of a run: on `readings` a whole one brings every reward to the same ceiling."""

_OFTEN = "frequent-proposer"
"""The end of the names of the arms whose Proposer has every third update: often enough to repeat itself."""

_PROPOSERS: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "outcome-only": ("", {}, {}),
    "penalised": (", less a penalty for repeated questions", {}, {"repetition_penalty": 1.0}),
    "midpoint-penalised": (
        " towards an even split, less a penalty for repeated questions (R-Zero's paper)",
        {"proposer": "midpoint"},
        {"repetition_penalty": 1.0},
    ),
    "minority-penalised": (
        " by the minority's share, less a penalty for repeated questions (R-Zero's code, VisPlay)",
        {},
        {"proposer": "minority_share", "repetition_penalty": 1.0},
    ),
}
"""What the Proposer of each arm of the study is paid, and the scoring config's and the trainer's settings for it."""

_GRID_VIEWS = "ireasoner.trainer.worlds.digit_grids.views"


def _estimators() -> tuple[Arm, ...]:
    return tuple(
        replace(
            ARMS[name],
            name=f"{name}-{estimator}",
            meaning=f"{ARMS[name].meaning}; {meaning}",
            trainer=trainer,
        )
        for estimator, (meaning, trainer) in _ESTIMATORS.items()
        for name in ("outcome-only", "full", "constant-step-agreement")
    )


def _early() -> tuple[Arm, ...]:
    arms = (
        *(ARMS[name] for name in ("outcome-only", "full", "step-only")),
        _STEPS_OF_THE_GROUP,
        ARMS["true-answers"],
    )
    return tuple(
        replace(
            arm,
            name=f"{arm.name}-early",
            meaning=f"{arm.meaning}; half as many updates",
            trainer={"updates": _EARLY_UPDATES},
        )
        for arm in arms
    )


def _repetition() -> tuple[Arm, ...]:
    outcome_only = ARMS["outcome-only"]
    return tuple(
        replace(
            outcome_only,
            name=f"{name}-{_OFTEN}",
            meaning=f"{outcome_only.meaning}; a Proposer with every third update, paid for uncertainty{meaning}",
            overrides={**outcome_only.overrides, **overrides},
            trainer={"proposer_every": 2, **({"reward": reward} if reward else {})},
        )
        for name, (meaning, overrides, reward) in _PROPOSERS.items()
    )


def _views(name: str, meaning: str, view: str, *, repeats: int, votes: str) -> Arm:
    """`outcome-only` on the plain question and `repeats` other views; if those are 3, two of 8 rollouts see each."""
    outcome_only = ARMS["outcome-only"]
    return replace(
        outcome_only,
        name=name,
        meaning=f"{outcome_only.meaning}; {meaning}",
        overrides={**outcome_only.overrides, "votes": votes},
        trainer={"views": {"names": ["plain", *[f"{_GRID_VIEWS}:{view}"] * repeats]}},
    )


_CROSS = _views(
    "views-cross", "by the votes of the other orders of the cells", "row_permuted", repeats=3, votes="cross"
)
_VIEWS = (
    _CROSS,
    _views(
        "views-pooled", "by the votes of all orders of the cells", "row_permuted", repeats=3, votes="pooled"
    ),
    replace(
        _views(
            "views-transposed", "by the votes of the transposed grid", "transposed", repeats=1, votes="cross"
        ),
        kind="control",
    ),
    replace(
        _views(
            "views-false",
            "by the votes of grids with other cells",
            "cells_permuted",
            repeats=3,
            votes="cross",
        ),
        kind="control",
    ),
)

_TEACHER = replace(
    ARMS["outcome-only"],
    name="outcome-teacher",
    meaning=f"{ARMS['outcome-only'].meaning}; by the votes of a slow teacher",
    overrides={**ARMS["outcome-only"].overrides, "votes": "voters"},
    trainer={"reward": {"voters": "teacher"}},
)

STUDIES: Mapping[StudyName, Study] = MappingProxyType(
    {
        "estimators": Study(
            "Does step agreement help under the estimator that was published?",
            own=_estimators(),
            settings={"questions": 600},
        ),
        "readings": Study(
            "Does step agreement help where right steps are in rollouts with wrong answers?",
            table=("outcome-only", "full", "step-only", "true-answers"),
            own=(_STEPS_OF_THE_GROUP,),
            settings={"task": "readings", "questions": 400},
        ),
        "readings-early": Study(
            "Which reward learns `readings` fastest?",
            own=_early(),
            settings={"task": "readings", "questions": 400},
        ),
        "views": Study(
            "Do votes of other views repair an error that all rollouts of one prompt share?",
            table=("outcome-only", "true-answers"),
            own=_VIEWS,
            settings={"task": "one-path", "questions": 400},
        ),
        "views-sums": Study(
            "Do votes of other views cost anything where paths already disagree?",
            table=("outcome-only",),
            own=(_CROSS,),
            settings={"questions": 400},
        ),
        "teacher": Study(
            "Do the votes of a slow teacher teach more than those of the rollouts that are paid?",
            table=("outcome-only", "true-answers"),
            own=(_TEACHER,),
            settings={"questions": 400},
        ),
        "copies": Study(
            "Does counting copies less add anything, on questions that nothing was chosen on?",
            table=("outcome-only", "outcome-distinct"),
            settings={"questions": 600, "test_seed": 3},
        ),
        "repetition": Study(
            "Does a penalty for repeated questions keep the Proposer's questions different, and at what cost?",
            own=_repetition(),
            settings={"questions": 400},
        ),
        "paper": Study(
            "What do the paper's arms, their controls and our preset give, with every answer kept?",
            table=(
                *("outcome-only", "step-only", "full"),
                *("no-warm-up", "no-position-decay", "no-density-weight"),
                *("outcome-distinct", "robust-without-distinct-exponent"),
                *("random", "constant-step-agreement", "true-answers", "format-only", "hard-majority"),
                *("images-shuffled", "frozen-proposer", "reference-faithful"),
            ),
            own=(_STEPS_OF_THE_GROUP,),
            settings={"questions": 400},
        ),
    }
)
"""Every study by name."""

TABLE_AND_STUDIES: Mapping[str, Arm] = {
    **ARMS,
    **{arm.name: arm for study in STUDIES.values() for arm in study.own},
}
"""Every declared arm by name; those of the studies come after the table's."""
