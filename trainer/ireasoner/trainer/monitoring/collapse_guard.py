"""The guard against collapse: it notices when the reward keeps rising but the policy no longer improves.

A reward for agreement sharpens what the model already believes; trained for too long, accuracy rises and then falls
(arXiv 2603.08660). The guard compares the Solver's last updates with its first ones by four signs of an audit: the mean
entropy of answers, the mean dominant share, the mean completion length, and the share of distinct questions. The last
is taken over all questions of a window, since an update may have only one.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ireasoner.audit.signs import AVERAGED, DISTINCT, DOMINANT, ENTROPY, signs
from ireasoner.audit.thresholds import Thresholds
from ireasoner.audit.watch import Watch
from ireasoner.trainer.run_folder.checkpoint import Checkpoints
from ireasoner.trainer.run_folder.run_folder import (
    COLLAPSE_MARK,
    CollapseMark,
    read_collapse_mark,
    read_lines,
)
from ireasoner.trainer.settings import CollapseSettings

logger = logging.getLogger(__name__)

LENGTH = "completions/mean_length"

WATCHED = {
    "entropy_fell": ENTROPY,
    "answers_all_agree": DOMINANT,
    "length_fell": LENGTH,
    "questions_repeat": DISTINCT,
}
"""The signs of an audit that the guard looks for, each with the metric that shows it."""


def collapse_watch(settings: CollapseSettings) -> Watch:
    """Finds the onset of collapse in the metrics of the Solver's updates; its signs have the names of the metrics."""
    metrics = ((sign, WATCHED.get(sign.name)) for sign in signs(Thresholds(**settings.model_dump())))
    watched = [replace(sign, name=metric, figure=metric) for sign, metric in metrics if metric is not None]
    return Watch(watched, settings.window, AVERAGED)


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
        self._watch = collapse_watch(settings)
        self._checkpoints = checkpoints
        self._run_folder = run_folder
        self._is_marked = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Replays the metrics of a resumed run; removes a mark that was made after the checkpoint it resumes from."""
        self._watch = collapse_watch(self._settings)
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
