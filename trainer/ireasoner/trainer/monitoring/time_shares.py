"""The share of an update's time that each phase takes."""

from collections.abc import Mapping, Sequence


def before_training(*, overlap: bool) -> tuple[str, ...]:
    """The phases that TRL's `step_time` includes besides training; publishing comes after it.

    Args:
        overlap: Whether an update is collected while another is trained; the step then only waits for it (`wait`).
    """
    return ("wait",) if overlap else ("propose", "paraphrase", "roll_out", "measure", "score")


_OPTIONAL = frozenset(("paraphrase", "measure"))
"""The phases that few runs have; an update without one has no share of it."""


def time_shares(metrics: Mapping[str, Sequence[float]], *, overlap: bool = False) -> dict[str, float]:
    """The phases' shares of an update's time, in [0, 1], as `time_share/PHASE`; empty if it was not timed.

    Args:
        metrics: `seconds/PHASE` and `step_time` of one update, in seconds. `train`, the forward and backward passes,
            is the rest of the step.
        overlap: As in `before_training`.
    """
    step_s = sum(metrics.get("step_time", ()))
    if step_s <= 0:
        return {}
    before = before_training(overlap=overlap)
    seconds = {
        name: sum(metrics.get(f"seconds/{name}", ()))
        for name in (*before, "publish")
        if name not in _OPTIONAL or f"seconds/{name}" in metrics
    }
    seconds["train"] = max(step_s - sum(seconds.get(name, 0.0) for name in before), 0.0)
    total_s = sum(seconds.values())
    return {f"time_share/{name}": value / total_s for name, value in seconds.items()}
