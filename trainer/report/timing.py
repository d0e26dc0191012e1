"""Where the time of a run goes: seconds by phase of an update."""

from dataclasses import dataclass

import numpy as np

from trainer.report.metrics import Floats, Metrics
from trainer.settings import ROLES

_NAMES = {
    "propose": "asking for questions",
    "roll_out": "sampling rollouts",
    "score": "scoring",
    "gradient": "gradient step",
    "publish": "publishing the adapter",
}
_OUTSIDE_STEP = frozenset({"publish"})


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase.

    Attributes:
        name: What goes on in it.
        seconds: (last_update,) seconds that each update spent in it.
        seconds_by_role: Its sum over the updates of each role.
    """

    name: str
    seconds: Floats
    seconds_by_role: dict[str, float]

    @property
    def total_s(self) -> float:
        """Seconds over the whole run."""
        return float(self.seconds.sum())


def phases(metrics: Metrics) -> list[Phase]:
    """The phases of a run in the order of an update; the gradient step is what the measured ones leave of it."""
    by_phase: dict[str, dict[str, Floats]] = {}
    for role in ROLES:
        prefix = f"{role}/seconds/"
        names = [name.removeprefix(prefix) for name in metrics.names if name.startswith(prefix)]
        timed = {name: _by_update(metrics, prefix + name) for name in names}
        step = _by_update(metrics, f"{role}/step_time")
        inside = [seconds for name, seconds in timed.items() if name not in _OUTSIDE_STEP]
        timed["gradient"] = np.clip(step - sum(inside, np.zeros_like(step)), 0.0, None)
        for name, seconds in timed.items():
            if seconds.any():
                by_phase.setdefault(name, {})[role] = seconds
    order = list(_NAMES)
    names = sorted(by_phase, key=lambda name: (order.index(name) if name in order else len(order), name))
    return [
        Phase(
            _NAMES.get(name, name.replace("_", " ")),
            np.sum(list(by_phase[name].values()), axis=0),
            {role: float(seconds.sum()) for role, seconds in by_phase[name].items()},
        )
        for name in names
    ]


def duration(seconds: float) -> str:
    """A duration for people: `0.8 s`, `42 s`, `12 min`, `3 h 20 min`."""
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
