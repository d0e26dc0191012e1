"""The studies: what each runs, where, and that an estimator changes nothing but the estimator."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from ireasoner.trainer.rewards.needs import Needs
from replication.arms import ARMS, Arm
from replication.evaluation import splits
from replication.run import recipe, run_settings
from replication.separation import VALIDATION_SEED
from replication.settings import TEST_SEED, ReplicationSettings
from replication.studies import STUDIES, TABLE_AND_STUDIES, StudyName
from replication.switches import differing
from scripts import replication_docs
from tests.replication.plan import plan

PREDICTIONS = (replication_docs.FOLDER / "predictions.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_its_arms_and_has_folders_of_its_own(name: StudyName) -> None:
    settings = CliApp.run(ReplicationSettings, ["--study", name, "--parallel", "8"])
    study = STUDIES[name]
    assert [arm.name for arm in settings.wanted_arms] == ["base", *study.names]
    assert {field: getattr(settings, field) for field in study.settings} == dict(study.settings)
    assert settings.runs_folder == Path(f"runs/replication-{name}")
    assert settings.out_folder == Path(f"docs/replication/{name}")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_predicted_with_its_command_and_number_of_runs(name: StudyName) -> None:
    settings = ReplicationSettings(study=name)
    [count] = re.findall(rf"python -m replication --study {name} --parallel 8 +# (\d+) runs", PREDICTIONS)
    assert int(count) == settings.seeds * len(settings.wanted_arms)


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["--questions", "50"],
            ["--seeds", "2"],
            ["--arms", "full-unscaled"],
            ["--arms", "full,outcome-only"],
        ),
        ["--task", "remainders"],
    ],
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


def test_the_arms_of_a_study_are_of_the_table_or_its_own() -> None:
    own = {arm.name: arm for study in STUDIES.values() for arm in study.own}
    assert not own.keys() & ARMS.keys()
    assert {name for study in STUDIES.values() for name in study.table} <= ARMS.keys()
    assert len(own) == len(TABLE_AND_STUDIES) - len(ARMS)
    for study in STUDIES.values():
        assert all(own[arm.name] == arm for arm in study.own), "one name is one arm in all studies"
        assert len({*study.names}) == len(study.names)


def test_another_test_seed_asks_other_questions_under_another_recipe(tmp_path: Path) -> None:
    usual, fresh = plan(tmp_path), replace(plan(tmp_path), test_seed=3)
    assert ReplicationSettings(study="copies").test_seed == 3 not in (TEST_SEED, VALIDATION_SEED)
    assert recipe(ARMS["full"], 0, usual) != recipe(ARMS["full"], 0, fresh)
    for split, asked in splits(usual).items():
        images = [{one.image.tobytes() for one in each} for each in (asked, splits(fresh)[split])]
        assert len(images[0]) == len(images[1])
        assert not images[0] & images[1]


@pytest.mark.parametrize("arm", STUDIES["views"].own, ids=lambda arm: arm.name)
def test_an_arm_with_views_differs_from_outcome_only_in_views_and_votes(arm: Arm, tmp_path: Path) -> None:
    assert differing(arm, ARMS["outcome-only"]) == ["votes", "trainer.views.names"]
    settings = run_settings(arm, 0, plan(tmp_path, "one-path"))
    assert settings.group_size % settings.views.count == 0


def test_the_arm_with_a_teacher_differs_from_outcome_only_in_who_votes(tmp_path: Path) -> None:
    [arm] = STUDIES["teacher"].own
    assert differing(arm, ARMS["outcome-only"]) == ["votes", "trainer.reward.voters"]
    settings = run_settings(arm, 0, plan(tmp_path))
    Needs.of(arm.scoring_config.model_dump()).check(settings)


@pytest.mark.parametrize("arm", STUDIES["readings-early"].own, ids=lambda arm: arm.name)
def test_an_early_arm_differs_from_the_whole_one_in_the_number_of_updates_alone(
    arm: Arm, tmp_path: Path
) -> None:
    whole = TABLE_AND_STUDIES[arm.name.removesuffix("-early")]
    assert differing(arm, whole) == ["trainer.updates"]
    assert run_settings(whole, 0, plan(tmp_path)).updates == 2 * run_settings(arm, 0, plan(tmp_path)).updates


@pytest.mark.parametrize("arm", STUDIES["repetition"].own, ids=lambda arm: arm.name)
def test_an_arm_of_the_proposers_differs_from_their_reference_in_the_proposers_reward_alone(
    arm: Arm, tmp_path: Path
) -> None:
    reference = TABLE_AND_STUDIES["outcome-only-frequent-proposer"]
    assert {*differing(arm, reference)} <= {
        "proposer",
        "trainer.reward.proposer",
        "trainer.reward.repetition_penalty",
    }
    settings = run_settings(arm, 0, plan(tmp_path))
    assert settings.proposer_every == 2
    assert settings.reward.repetition_penalty == (0 if arm == reference else 1)


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
