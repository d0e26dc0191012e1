"""Groups for tests of an audit."""

from ireasoner.audit.group import AuditedGroup, AuditedRollout, AuditedStep


def rollout(
    *steps: str,
    answer: str | None = "7",
    reward: float | None = 0.5,
    cosines: tuple[float | None, ...] | None = None,
    words: int | None = None,
) -> AuditedRollout:
    """A rollout; its words are those of its steps unless they are given."""
    known = cosines or (0.9,) * len(steps)
    made = tuple(AuditedStep(text, cosine, 1.0) for text, cosine in zip(steps, known, strict=True))
    return AuditedRollout(answer, reward, len(" ".join(steps).split()) if words is None else words, made)


def group(question: str | None, *rollouts: AuditedRollout) -> AuditedGroup:
    """A group of these rollouts."""
    return AuditedGroup(question, rollouts)
