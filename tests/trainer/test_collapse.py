"""The guard against collapse: what it counts as an onset, and what it does then."""

import json
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState

from ireasoner.audit.questions import RecentQuestions
from ireasoner.audit.signs import DISTINCT, DOMINANT, ENTROPY
from ireasoner.trainer.monitoring.collapse_guard import LENGTH, CollapseGuard, collapse_watch
from ireasoner.trainer.run_folder.checkpoint import Checkpoints
from ireasoner.trainer.run_folder.run_folder import read_collapse_mark, read_lines
from ireasoner.trainer.settings import CollapseSettings
from tests.trainer.offline import OfflineRollouts, offline_settings, offline_trainer, reasoning
from tests.trainer.test_resume import write_checkpoint

HEALTHY = {ENTROPY: 0.9, DOMINANT: 0.6, LENGTH: 40.0}
COLLAPSED = {ENTROPY: 0.05, DOMINANT: 0.99, LENGTH: 5.0}


def onset(settings: CollapseSettings, series: list[dict[str, float]]) -> tuple[int, set[str]] | None:
    """The first update that shows signs of collapse, and its signs."""
    watch = collapse_watch(settings)
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


@pytest.mark.parametrize("sign", [ENTROPY, DOMINANT, LENGTH])
def test_each_sign_alone_is_enough_if_it_lasts(sign: str) -> None:
    settings = CollapseSettings(window=10)
    series = [HEALTHY] * 20 + [{**HEALTHY, sign: COLLAPSED[sign]}] * 20
    found = onset(settings, series)
    assert found is not None
    update, signs = found
    assert 20 < update <= 29
    assert signs == {sign}


@pytest.mark.parametrize(
    ("setting", "value", "sign", "figure"),
    [
        ("entropy_share", 0.9, ENTROPY, 0.75),
        ("dominant_share", 0.65, DOMINANT, 0.7),
        ("length_share", 0.9, LENGTH, 35.0),
    ],
)
def test_each_threshold_is_a_setting(setting: str, value: float, sign: str, figure: float) -> None:
    series = [HEALTHY] * 20 + [{**HEALTHY, sign: figure}] * 20
    assert onset(CollapseSettings(window=10), series) is None
    found = onset(CollapseSettings(**{"window": 10, setting: value}), series)
    assert found is not None
    assert found[1] == {sign}


@pytest.mark.parametrize("per_update", [1, 4])
def test_repeated_questions_are_noticed_however_few_an_update_asks(per_update: int) -> None:
    questions = RecentQuestions(10)
    many = cycle(f"What is number {i}?" for i in range(30))
    asked = [list(islice(many, per_update)) for _ in range(20)] + [["What is this?"] * per_update] * 10
    found = onset(CollapseSettings(window=10), [questions.add(update) for update in asked])
    assert found is not None
    update, signs = found
    assert 25 <= update <= 29, "one odd update is no collapse, a whole window is"
    assert signs == {DISTINCT}


def test_questions_as_varied_as_at_the_start_are_no_collapse() -> None:
    questions = RecentQuestions(10)
    few = cycle(["Row 1?", "Row 2?", "Row 3?"])
    assert onset(CollapseSettings(window=10), [questions.add([next(few)]) for _ in range(60)]) is None


def test_a_model_that_was_certain_from_the_start_has_not_collapsed() -> None:
    certain = {**HEALTHY, DOMINANT: 0.99, ENTROPY: 0.04}
    assert onset(CollapseSettings(), [certain] * 60) is None


@pytest.mark.parametrize("stop", [False, True])
def test_the_guard_marks_the_onset_and_keeps_the_checkpoint_before_it(tmp_path: Path, stop: bool) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=1, every=1)
    guard = CollapseGuard(CollapseSettings(window=5), checkpoints, tmp_path, stops=stop)
    control = TrainerControl()
    arguments: Any = None
    for update in range(1, 31):
        if update == 15:
            write_checkpoint(checkpoints, update)
        figures = HEALTHY if update <= 20 else COLLAPSED
        logs = {"solver/loss": 0.0, **{f"solver/{name}": value for name, value in figures.items()}}
        guard.on_log(arguments, TrainerState(global_step=update), control, logs=logs)
    write_checkpoint(checkpoints, 31)

    mark = read_collapse_mark(tmp_path)
    assert mark is not None
    assert 21 <= mark.update <= 25
    assert mark.checkpoint == "checkpoint-15"
    assert LENGTH in mark.signs
    kept = tmp_path / "checkpoints" / "before-collapse" / "solver" / "weights"
    assert kept.read_bytes() == b"weights of 15"
    assert control.should_training_stop is stop


def test_a_resumed_run_remembers_its_earlier_updates(tmp_path: Path) -> None:
    settings = CollapseSettings(window=5)
    lines = [
        {"update": i, **{f"solver/{name}": value for name, value in HEALTHY.items()}} for i in range(1, 6)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "collapse.json").write_text(json.dumps({"update": 9, "signs": {}, "checkpoint": None}))
    guard = CollapseGuard(settings, Checkpoints(tmp_path / "checkpoints", keep=1, every=1), tmp_path)
    arguments: Any = None
    guard.on_train_begin(arguments, TrainerState(global_step=5), TrainerControl())
    assert not (tmp_path / "collapse.json").exists(), "the mark is from after the checkpoint"

    for update in range(6, 11):
        logs = {"solver/loss": 0.0, **{f"solver/{name}": value for name, value in COLLAPSED.items()}}
        guard.on_log(arguments, TrainerState(global_step=update), TrainerControl(), logs=logs)
    assert (tmp_path / "collapse.json").exists(), "compared with the healthy updates before the checkpoint"


class OneQuestionPerUpdate:
    """A Proposer whose first five questions differ; from then on it repeats the fifth."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, policy: str, request: int, member: int) -> str:
        if "proposer" not in policy:
            return reasoning((3, 5, 5, 9)[member])
        self.asked += 1
        return f"<question>What is the sum of row {min(self.asked, 5)}?</question>"


def test_a_run_with_one_question_per_update_stops_once_its_questions_repeat(
    tmp_path: Path,
) -> None:
    fields: dict[str, Any] = {
        "updates": 12,
        "groups_per_update": 1,
        "save_every": 3,
        "collapse": {"window": 4, "distinct_share": 0.3},  # a window of four cannot fall below a quarter
        "stop_on_collapse": True,
    }
    say = OneQuestionPerUpdate()
    first = offline_trainer(offline_settings(tmp_path, **fields), OfflineRollouts(say))
    first.go()
    mark = read_collapse_mark(tmp_path / "run")
    assert mark is not None
    assert mark.update == 8, "updates 5 to 8 ask one question, a quarter of the four that 1 to 4 ask"
    assert set(mark.signs) == {DISTINCT}
    assert mark.checkpoint == "checkpoint-6"
    whole = list(read_lines(tmp_path / "run" / "metrics.jsonl"))
    shares = [line.get("solver/questions_distinct_recent") for line in whole]
    assert shares == [None, None, None, 1.0, 1.0, 0.75, 0.5, 0.25]
    near = [line.get("solver/questions_near_duplicate_recent") for line in whole]
    assert near[3:] == [0.0, 0.0, 0.25, 0.5, 0.75]

    say.asked = 8
    again = offline_trainer(offline_settings(tmp_path, **fields, resume=True), OfflineRollouts(say))
    again.go()
    resumed = list(read_lines(tmp_path / "run" / "metrics.jsonl"))
    assert [line["update"] for line in resumed] == list(range(1, 13)), "whoever resumes it wants more"
    assert [line.get("solver/questions_distinct_recent") for line in resumed[:9]] == [*shares, 0.25]
    assert read_collapse_mark(tmp_path / "run") == mark
