"""One scored group, as far as an audit looks at its texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_SPREAD = 1e-6
"""Rewards that differ by less count as equal, as they do for the trainer."""


@dataclass(frozen=True, slots=True)
class AuditedStep:
    """A step, its cosine to its group (None if it was not compared) and its weight in the reward."""

    text: str
    cosine: float | None
    weight: float


@dataclass(frozen=True, slots=True)
class AuditedRollout:
    """A rollout.

    Attributes:
        answer: Its normalised answer, None if it has none.
        reward: Its reward, None if it has none.
        words: Whitespace-separated words of its text; of its steps, if it was sent without text.
        steps: Its steps.
    """

    answer: str | None
    reward: float | None
    words: int
    steps: tuple[AuditedStep, ...]


@dataclass(frozen=True, slots=True)
class AuditedGroup:
    """A group; `question` is whatever identifies its question, None if it is not known."""

    question: str | None
    rollouts: tuple[AuditedRollout, ...]

    @classmethod
    def of(cls, sent: Mapping[str, Any], scored: Mapping[str, Any]) -> "AuditedGroup":
        """The group from its JSON: as it was sent to the reward server, and as it was scored in full detail."""
        texts = [rollout.get("text") for rollout in sent["rollouts"]]
        return cls(
            question=sent.get("question"),
            rollouts=tuple(
                _rollout(text, rollout)
                for text, rollout in zip(texts, scored.get("rollouts", ()), strict=False)
            ),
        )


def _rollout(text: str | None, scored: Mapping[str, Any]) -> AuditedRollout:
    steps = tuple(
        AuditedStep(step["text"], step["cosine"], step["weight"]) for step in scored.get("steps", ())
    )
    words = " ".join(step.text for step in steps) if text is None else text
    return AuditedRollout(scored["answer"], scored["reward"], len(words.split()), steps)
