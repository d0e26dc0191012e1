"""Where the time of a run goes: seconds per phase and update."""

from dataclasses import dataclass

import numpy as np

from ireasoner.trainer.monitoring.time_shares import before_training
from ireasoner.trainer.report.metrics import Floats, Metrics
from ireasoner.trainer.settings import ROLES

_PHASES = {
    "propose": ("proposing questions", "purple"),
    "paraphrase": ("paraphrasing for views", "red"),
    "roll_out": ("sampling rollouts", "blue"),
    "measure": ("measuring what rewards need", "red"),
    "score": ("scoring", "teal"),
    "wait": ("waiting for groups", "red"),
    "train": ("gradient step", "orange"),
    "publish": ("publishing the adapter", "grey"),
}


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase.

    Attributes:
        name: Its description.
        colour: Its colour in the plot and the table.
        seconds: (last_update,) seconds that each update spent in it.
        seconds_by_role: Seconds in all updates of each role.
    """

    name: str
    colour: str
    seconds: Floats
    seconds_by_role: dict[str, float]

    @property
    def total_s(self) -> float:
        """Seconds in the whole run."""
        return float(self.seconds.sum())


def phases(metrics: Metrics, *, overlap: bool) -> list[Phase]:
    """The phases of a run in the order of an update; together they take `step_time` plus the time to publish.

    Args:
        metrics: The run's metrics.
        overlap: As in `before_training`.
    """
    before = before_training(overlap=overlap)
    by_phase: dict[str, dict[str, Floats]] = {name: {} for name in _PHASES}
    for role in ROLES:
        timed = {name: _by_update(metrics, f"{role}/seconds/{name}") for name in (*before, "publish")}
        step = _by_update(metrics, f"{role}/step_time")
        timed["train"] = np.clip(step - np.sum([timed[name] for name in before], axis=0), 0.0, None)
        for name, seconds in timed.items():
            if seconds.any():
                by_phase[name][role] = seconds
    return [
        Phase(
            *_PHASES[name],
            np.sum(list(by_role.values()), axis=0),
            {role: float(seconds.sum()) for role, seconds in by_role.items()},
        )
        for name, by_role in by_phase.items()
        if by_role
    ]


def duration(seconds: float) -> str:
    """A readable duration: `0.8 s`, `42 s`, `12 min`, `3 h 20 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _by_update(metrics: Metrics, name: str) -> Floats:
    seconds = np.zeros(metrics.last_update, dtype=np.float64)
    curve = metrics.curve(name)
    if curve is not None:
        seconds[curve.updates.astype(np.int64) - 1] = curve.values
    return seconds
