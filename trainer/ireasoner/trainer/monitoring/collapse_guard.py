"""The onset of collapse: where an intrinsic reward goes on rising and the policy no longer learns from it.

Every reward of agreement sharpens what the model believes already, and rises then falls if it is pushed for too long
(arXiv 2603.08660). Four signs are watched, each over the Solver's last updates, against what it was over its first
ones: the means of the answers' entropy, of the share of the dominant answer and of length, and the share of distinct
questions among all of those updates, since one update may ask only one.
"""

import logging
import shutil
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ireasoner.trainer.monitoring.collapse_mark import MARK, CollapseMark, read_mark
from ireasoner.trainer.monitoring.question_diversity import DISTINCT_RECENT
from ireasoner.trainer.run_folder.checkpoint import Checkpoints
from ireasoner.trainer.run_folder.run_folder import read_lines
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
    """Tells the onset of collapse from the figures of the Solver's updates.

    Args:
        settings: The window and the thresholds.
    """

    def __init__(self, settings: CollapseSettings) -> None:
        self._settings = settings
        self._recent: dict[str, deque[float]] = {
            name: deque(maxlen=settings.window) for name in (ENTROPY, DOMINANT, LENGTH)
        }
        self._recent[DISTINCT] = deque(
            maxlen=1
        )  # each is over a window already, and the first comes with a full one
        self._first: dict[str, float] = {}

    def observe(self, figures: Mapping[str, float]) -> dict[str, str]:
        """Takes in one update's figures; returns the signs of collapse that it now shows, each with its reason."""
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
    """Marks the onset of collapse in a run, keeps the newest checkpoint before it, and stops there if told to.

    The mark is a `CollapseMark` in the run folder. The checkpoint is copied to `checkpoints/before-collapse`, where no
    rotation reaches it.
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
        """Takes in what a run that goes on has behind it; a mark from beyond its checkpoint is taken off."""
        self._watch = CollapseWatch(self._settings)
        for line in read_lines(self._run_folder / "metrics.jsonl"):
            self._watch.observe(_solver_figures(line))
        mark = read_mark(self._run_folder)
        self._is_marked = mark is not None and mark.update <= state.global_step
        if state.is_world_process_zero and not self._is_marked:
            (self._run_folder / MARK).unlink(missing_ok=True)

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
        if not state.is_world_process_zero:
            return
        newest = self._checkpoints.newest()
        if newest is not None:
            shutil.copytree(newest, newest.parent / "before-collapse", dirs_exist_ok=True)
        mark = CollapseMark(update=state.global_step, signs=signs, checkpoint=newest.name if newest else None)
        (self._run_folder / MARK).write_text(mark.model_dump_json(indent=2) + "\n", encoding="utf-8")
        reasons = "; ".join(f"{name} {reason}" for name, reason in signs.items())
        kept = f"{newest.name} is kept as before-collapse" if newest else "there is no checkpoint before it"
        logger.warning("update %d: likely onset of collapse: %s; %s", state.global_step, reasons, kept)


def _solver_figures(logs: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a Solver's update under the names that the watch knows; none for a Proposer's."""
    return {name.removeprefix("solver/"): value for name, value in logs.items() if name.startswith("solver/")}
