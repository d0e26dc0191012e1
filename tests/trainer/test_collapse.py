"""The guard against collapse: what it takes for an onset, and what it does then."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from tests.trainer.test_resume import write_checkpoint
from trainer.checkpoint import Checkpoints
from trainer.collapse import DISTINCT, DOMINANT, ENTROPY, LENGTH, CollapseGuard, CollapseWatch
from trainer.settings import CollapseSettings

HEALTHY = {ENTROPY: 0.9, DOMINANT: 0.6, DISTINCT: 0.7, LENGTH: 40.0}
COLLAPSED = {ENTROPY: 0.05, DOMINANT: 0.99, DISTINCT: 0.06, LENGTH: 5.0}


def onset(settings: CollapseSettings, series: list[dict[str, float]]) -> tuple[int, set[str]] | None:
    """The first update that shows signs, and which."""
    watch = CollapseWatch(settings)
    for update, figures in enumerate(series):
        if signs := watch.observe(figures):
            return update, set(signs)
    return None


def test_a_healthy_run_shows_no_sign() -> None:
    learning = [{**HEALTHY, ENTROPY: 0.9 - 0.006 * i, DOMINANT: 0.6 + 0.003 * i} for i in range(100)]
    assert onset(CollapseSettings(), learning) is None


def test_one_odd_update_is_no_collapse() -> None:
    series = [HEALTHY] * 20 + [COLLAPSED] + [HEALTHY] * 20
    assert onset(CollapseSettings(), series) is None


@pytest.mark.parametrize("sign", [ENTROPY, DOMINANT, DISTINCT, LENGTH])
def test_each_sign_alone_is_enough_once_it_lasts(sign: str) -> None:
    settings = CollapseSettings(window=10)
    series = [HEALTHY] * 20 + [{**HEALTHY, sign: COLLAPSED[sign]}] * 20
    found = onset(settings, series)
    assert found is not None
    update, signs = found
    assert 20 < update <= 29
    assert signs == {sign}


def test_a_model_that_was_certain_from_the_start_has_not_collapsed() -> None:
    certain = {**HEALTHY, DOMINANT: 0.99, ENTROPY: 0.04}
    assert onset(CollapseSettings(), [certain] * 60) is None


@pytest.mark.parametrize("stop", [False, True])
def test_the_guard_marks_the_onset_and_keeps_the_checkpoint_before_it(tmp_path: Path, stop: bool) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1)
    guard = CollapseGuard(CollapseSettings(window=5, stop=stop), checkpoints, tmp_path)
    control = TrainerControl()
    arguments: Any = None
    for update in range(1, 31):
        if update == 15:
            write_checkpoint(checkpoints, update)
        figures = HEALTHY if update <= 20 else COLLAPSED
        logs = {"solver/loss": 0.0, **{f"solver/{name}": value for name, value in figures.items()}}
        guard.on_log(arguments, TrainerState(global_step=update), control, logs=logs)
    write_checkpoint(checkpoints, 31)

    mark = json.loads((tmp_path / "collapse.json").read_text())
    assert 21 <= mark["update"] <= 25
    assert mark["checkpoint"] == "checkpoint-15"
    assert LENGTH in mark["signs"]
    kept = tmp_path / "checkpoints" / "before-collapse" / "solver" / "weights"
    assert kept.read_bytes() == b"weights of 15"
    assert control.should_training_stop is stop


def test_a_run_that_goes_on_remembers_what_is_behind_it(tmp_path: Path) -> None:
    settings = CollapseSettings(window=5)
    lines = [
        {"update": i, **{f"solver/{name}": value for name, value in HEALTHY.items()}} for i in range(1, 6)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "collapse.json").write_text(json.dumps({"update": 9}))
    guard = CollapseGuard(settings, Checkpoints(tmp_path / "checkpoints", keep=1), tmp_path)
    arguments: Any = None
    guard.on_train_begin(arguments, TrainerState(global_step=5), TrainerControl())
    assert not (tmp_path / "collapse.json").exists(), "the mark lies beyond the checkpoint"

    for update in range(6, 11):
        logs = {"solver/loss": 0.0, **{f"solver/{name}": value for name, value in COLLAPSED.items()}}
        guard.on_log(arguments, TrainerState(global_step=update), TrainerControl(), logs=logs)
    assert (tmp_path / "collapse.json").exists(), "measured against the healthy updates before"
