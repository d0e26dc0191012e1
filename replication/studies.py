"""The studies: arms beside those of the table, each set for one question, with its own task, questions and seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from replication.arms import ARMS, Arm

StudyName = Literal["estimators"]


@dataclass(frozen=True, slots=True)
class Study:
    """Arms that answer one question, with their predictions on docs/replication/predictions.md.

    Attributes:
        question: What it asks, in one sentence.
        arms: Its own arms, which are not in the table.
        settings: The settings of the command that it sets, by name.
    """

    question: str
    arms: tuple[Arm, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


_ESTIMATORS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "moving-baseline": ("advantages minus a moving baseline", {"advantage": "moving_baseline"}),
    "unscaled": (
        "advantages not divided by the group's spread",
        {"grpo": {"scale_rewards": "none"}},
    ),
}
"""What each estimator of the study is, and the settings of the trainer that choose it."""


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


STUDIES: Mapping[StudyName, Study] = MappingProxyType(
    {
        "estimators": Study(
            "Does step agreement help under the estimator that was published?",
            _estimators(),
            {"questions": 600},
        ),
    }
)
"""Every study by name."""

TABLE_AND_STUDIES: Mapping[str, Arm] = {
    **ARMS,
    **{arm.name: arm for study in STUDIES.values() for arm in study.arms},
}
"""Every declared arm by name; those of the studies come after the table's."""
