"""The guard against collapse: it notices when the reward keeps rising but the policy no longer improves.

A reward for agreement sharpens what the model already believes; trained for too long, accuracy rises and then falls
(arXiv 2603.08660). The guard compares the Solver's last updates with its first ones by four signs: the mean entropy of
answers, the mean dominant share, the mean completion length, and the share of distinct questions. The last is taken
over all questions of a window, since an update may have only one.
"""

import logging
import shutil
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ireasoner.trainer.monitoring.question_diversity import DISTINCT_RECENT
from ireasoner.trainer.run_folder.checkpoint import Checkpoints
from ireasoner.trainer.run_folder.run_folder import (
    COLLAPSE_MARK,
    CollapseMark,
    read_collapse_mark,
    read_lines,
)
from ireasoner.trainer.settings import CollapseSettings

logger = logging.getLogger(__name__)

ENTROPY = "answer_entropy_nats"
DOMINANT = "dominant_share"
DISTINCT = DISTINCT_RECENT
LENGTH = "completions/mean_length"

DOMINANT_SHARE_ONSET = 0.97
"""A mean dominant share above this is a sign of collapse; ours."""

ONSET_SHARES = {ENTROPY: 0.2, DISTINCT: 0.2, LENGTH: 0.4}
"""A mean below this share of its first value is a sign of collapse; ours."""


class CollapseWatch:
    """Finds the onset of collapse in the metrics of the Solver's updates.

    Args:
        settings: The window and the thresholds.
    """

    def __init__(self, settings: CollapseSettings) -> None:
        self._settings = settings
        self._recent: dict[str, deque[float]] = {
            name: deque(maxlen=settings.window) for name in (ENTROPY, DOMINANT, LENGTH)
        }
        self._recent[DISTINCT] = deque(maxlen=1)  # it is computed over a whole window already
        self._first: dict[str, float] = {}

    def observe(self, figures: Mapping[str, float]) -> dict[str, str]:
        """Adds one update's metrics; returns the signs of collapse that now hold, each with its reason."""
        signs = {}
        for name, recent in self._recent.items():
            if name not in figures:
                continue
            recent.append(figures[name])
            if len(recent) < (recent.maxlen or 0):
                continue
            mean = sum(recent) / len(recent)
            first = self._first.setdefault(name, mean)
            reason = self._fault(name, mean, first)
            if reason is not None:
                signs[name] = reason
        return signs

    def _fault(self, name: str, mean: float, first: float) -> str | None:
        if name == DOMINANT:
            above = mean > DOMINANT_SHARE_ONSET and mean > first
            return f"{mean:.2f} is above {DOMINANT_SHARE_ONSET}" if above else None
        share = ONSET_SHARES[name]
        return f"{mean:.3g} is below {share} of the first {first:.3g}" if mean < share * first else None


class CollapseGuard(TrainerCallback):  # type: ignore[misc]
    """Marks the onset of collapse in the run folder and keeps the newest checkpoint before it.

    The checkpoint is copied to `checkpoints/before-collapse`, which is never rotated away.

    Args:
        settings: The window and the thresholds.
        checkpoints: The run's checkpoints.
        run_folder: Where the mark is written.
        stops: Whether to end the run at the onset.
    """

    def __init__(
        self, settings: CollapseSettings, checkpoints: Checkpoints, run_folder: Path, *, stops: bool = False
    ) -> None:
        self._stops = stops
        self._settings = settings
        self._watch = CollapseWatch(settings)
        self._checkpoints = checkpoints
        self._run_folder = run_folder
        self._is_marked = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Replays the metrics of a resumed run; removes a mark that was made after the checkpoint it resumes from."""
        self._watch = CollapseWatch(self._settings)
        for line in read_lines(self._run_folder / "metrics.jsonl"):
            self._watch.observe(_solver_figures(line))
        mark = read_collapse_mark(self._run_folder)
        self._is_marked = mark is not None and mark.update <= state.global_step
        if state.is_world_process_zero and not self._is_marked:
            (self._run_folder / COLLAPSE_MARK).unlink(missing_ok=True)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs["logs"]
        if "solver/loss" not in logs or self._is_marked:
            return
        signs = self._watch.observe(_solver_figures(logs))
        if not signs:
            return
        self._is_marked = True
        control.should_training_stop = control.should_training_stop or self._stops
        control.should_save = control.should_save or self._stops
        if not state.is_world_process_zero:
            return
        newest = self._checkpoints.newest()
        if newest is not None:
            shutil.copytree(newest, newest.parent / "before-collapse", dirs_exist_ok=True)
        mark = CollapseMark(update=state.global_step, signs=signs, checkpoint=newest.name if newest else None)
        (self._run_folder / COLLAPSE_MARK).write_text(mark.model_dump_json(indent=2) + "\n", encoding="utf-8")
        reasons = "; ".join(f"{name} {reason}" for name, reason in signs.items())
        kept = (
            f"{newest.name} is kept as before-collapse" if newest else "no checkpoint was written before it"
        )
        logger.warning("update %d: likely onset of collapse: %s; %s", state.global_step, reasons, kept)


def _solver_figures(logs: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of an update of the Solver, without their prefix; none for an update of the Proposer."""
    return {name.removeprefix("solver/"): value for name, value in logs.items() if name.startswith("solver/")}
