"""The studies: what each runs, where, and that an estimator changes nothing but the estimator."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from replication.arms import ARMS
from replication.run import run_settings
from replication.settings import ReplicationSettings
from replication.studies import STUDIES, TABLE_AND_STUDIES, StudyName
from scripts import replication_docs
from tests.replication.plan import plan

PREDICTIONS = (replication_docs.FOLDER / "predictions.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_its_arms_and_has_folders_of_its_own(name: StudyName) -> None:
    settings = CliApp.run(ReplicationSettings, ["--study", name, "--parallel", "8"])
    study = STUDIES[name]
    assert [arm.name for arm in settings.wanted_arms] == ["base", *(arm.name for arm in study.arms)]
    assert {field: getattr(settings, field) for field in study.settings} == dict(study.settings)
    assert settings.runs_folder == Path(f"runs/replication-{name}")
    assert settings.out_folder == Path(f"docs/replication/{name}")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_predicted_with_its_command(name: StudyName) -> None:
    assert f"\n## {name}: " in PREDICTIONS
    assert f"python -m replication --study {name}" in PREDICTIONS


@pytest.mark.parametrize(
    "words",
    [["--questions", "50"], ["--seeds", "2"], ["--arms", "full-unscaled"], ["--arms", "full,outcome-only"]],
    ids=" ".join,
)
def test_a_part_of_a_study_does_not_overwrite_its_results(words: list[str]) -> None:
    settings = CliApp.run(ReplicationSettings, ["--study", "estimators", *words])
    assert settings.out_folder == Path("runs/replication-estimators/results")


def test_what_a_study_sets_can_be_set_otherwise() -> None:
    assert ReplicationSettings(study="estimators").questions == 600
    assert ReplicationSettings(study="estimators", questions=50).questions == 50


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(ValidationError, match="Input should be 'estimators'"):
        ReplicationSettings.model_validate({"study": "estimator"})


def test_arms_of_studies_are_not_in_the_table() -> None:
    of_studies = [arm.name for study in STUDIES.values() for arm in study.arms]
    assert not {*of_studies} & ARMS.keys()
    assert len(of_studies) == len({*of_studies}) == len(TABLE_AND_STUDIES) - len(ARMS)


@pytest.mark.parametrize("name", ["outcome-only", "full", "constant-step-agreement"])
@pytest.mark.parametrize(
    ("estimator", "changed"),
    [
        ("moving-baseline", {"advantage": ("group", "moving_baseline")}),
        ("unscaled", {"grpo": ({"learning_rate": 1e-3}, {"learning_rate": 1e-3, "scale_rewards": "none"})}),
    ],
)
def test_an_arm_under_another_estimator_differs_in_the_estimator_alone(
    name: str, estimator: str, changed: dict[str, tuple[object, object]], tmp_path: Path
) -> None:
    before, after = ARMS[name], TABLE_AND_STUDIES[f"{name}-{estimator}"]
    assert (before.scoring_config, before.variant) == (after.scoring_config, after.variant)
    ours, theirs = (run_settings(arm, 0, plan(tmp_path)).experiment for arm in (before, after))
    assert {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]} == changed
