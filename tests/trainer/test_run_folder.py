"""Which run folders a run can begin in, and which it can continue."""

import json
from pathlib import Path
from typing import Any

import pytest

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.run_folder.extension import extended
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import RunSettings
from tests.trainer.offline import OfflineRollouts, offline_settings, offline_trainer, reasoning


def settings(folder: Path, **fields: Any) -> RunSettings:
    return RunSettings(model="m", images=Path("i"), run_folder=folder, **{"updates": 4, **fields})


def test_a_folder_without_one_update_can_be_used_again(tmp_path: Path) -> None:
    run = RunFolder(settings(tmp_path, seed=1))
    run.append_group({"update": 0})
    for name in ("checkpoints/.partial", "tensorboard", "adapters/solver-000000"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "inputs").mkdir()
    RunFolder(settings(tmp_path, seed=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs", "settings.json"]


@pytest.mark.parametrize("trace", ["metrics", "checkpoints/checkpoint-2", "final"])
def test_a_folder_with_an_update_is_refused(trace: str, tmp_path: Path) -> None:
    run = RunFolder(settings(tmp_path))
    if trace == "metrics":
        run.append_metrics({"update": 1})
    else:
        (tmp_path / trace).mkdir(parents=True)
    with pytest.raises(SettingsError, match="already contains a run; choose another folder"):
        RunFolder(settings(tmp_path))


def test_a_run_can_be_extended_and_keeps_its_progress(tmp_path: Path) -> None:
    first = settings(tmp_path)
    RunFolder(first)
    longer = extended(settings(tmp_path, updates=7, resume=True))
    RunFolder(longer)
    assert [longer.progress_at(update) for update in range(7)] == [
        *(first.progress_at(update) for update in range(4)),
        1.0,
        1.0,
        1.0,
    ]
    again = extended(settings(tmp_path, updates=9, resume=True))
    RunFolder(again)
    assert (again.updates, again.progress_updates) == (9, 4)
    resumed = extended(settings(tmp_path, updates=9, resume=True))
    RunFolder(resumed)
    assert resumed.progress_updates == 4


def test_fewer_updates_and_other_settings_are_refused(tmp_path: Path) -> None:
    RunFolder(settings(tmp_path))
    for fields, message in (
        ({"updates": 3}, r"updates \(was 4, is 3\)"),
        ({"updates": 5, "seed": 1}, r"other settings: seed \(was 0, is 1\)"),
        ({"updates": 5, "progress_updates": 5}, r"progress_updates \(was 4, is 5\)"),
    ):
        with pytest.raises(SettingsError, match=message):
            RunFolder(extended(settings(tmp_path, resume=True, **fields)))


def test_a_run_that_does_not_resume_is_not_extended(tmp_path: Path) -> None:
    RunFolder(settings(tmp_path))
    assert extended(settings(tmp_path, updates=7)).progress_updates is None
    with pytest.raises(SettingsError, match="contains no run"):
        extended(settings(tmp_path / "nowhere", resume=True))


def test_settings_of_another_version_are_refused_by_name(tmp_path: Path) -> None:
    RunFolder(settings(tmp_path))
    file = tmp_path / "settings.json"
    file.write_text(file.read_text().replace('"seed"', '"sead"'))
    with pytest.raises(
        SettingsError, match="of another version: sead: there is no such setting; did you mean seed"
    ):
        RunFolder(settings(tmp_path, resume=True))


def say(policy: str, request: int, member: int) -> str:
    return reasoning(1 + request + member % 2)


def test_a_run_that_trains_on_forgets_the_result_of_its_former_end(tmp_path: Path) -> None:
    first = offline_settings(tmp_path)
    trainer = offline_trainer(first, OfflineRollouts(say))
    trainer.go()
    trainer.write_final()
    result = first.run_folder / "evaluation.json"
    figures = {"before": {"greedy": 0.5}, "after": {"greedy": 0.6}, "gain": {"mean": 0.1}}
    result.write_text(json.dumps(figures))

    finished = offline_trainer(first.model_copy(update={"resume": True}), OfflineRollouts(say))
    finished.go()
    assert json.loads(result.read_text()) == figures
    assert finished.run.final.is_dir()

    extended_by_one = extended(first.model_copy(update={"resume": True, "updates": 2}))
    longer = offline_trainer(extended_by_one, OfflineRollouts(say))
    longer.go()
    assert json.loads(result.read_text()) == {"before": {"greedy": 0.5}, "after": None, "gain": None}
    assert not longer.run.final.exists()
    longer.write_final()
    assert sorted(path.name for path in longer.run.final.iterdir()) == ["proposer", "solver"]
    assert not longer.run.final.with_name("final.partial").exists()
