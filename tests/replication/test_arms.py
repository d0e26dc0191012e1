"""The arms of the table: reward server and trainer accept each, and no two train alike."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from ireasoner.reward_server.scoring.fingerprint import fingerprint
from ireasoner.reward_server.scoring_config import PAPER, ROBUST
from ireasoner.trainer.settings import RunSettings, read_toml
from replication.arms import ARMS, DEFECTS, QUICK_ARMS, REFERENCES, ROBUST_PARTS, Arm
from replication.released_code_settings import ReleasedCodeSettings
from replication.run import recipe, run_settings
from replication.settings import ReplicationSettings
from replication.studies import TABLE_AND_STUDIES
from tests.replication.plan import plan

REFERENCE_FAITHFUL = Path(__file__).resolve().parents[2] / "configs" / "reference-faithful.toml"
TRAINED = [arm for arm in TABLE_AND_STUDIES.values() if arm.trained]


@pytest.mark.parametrize("arm", TRAINED, ids=lambda arm: arm.name)
def test_the_trainer_accepts_every_arm(arm: Arm, tmp_path: Path) -> None:
    settings = run_settings(arm, 3, plan(tmp_path))
    assert settings.seed == 3
    assert settings.reward.config == arm.preset
    assert settings.reward.overrides == dict(arm.overrides)


def test_no_two_arms_train_alike(tmp_path: Path) -> None:
    """All arms differ in the fingerprint of their scoring, the reward variant, or the trainer's settings."""
    known = {
        json.dumps([fingerprint(arm.scoring_config, "e"), arm.variant, _experiment(arm, tmp_path)])
        for arm in TRAINED
    }
    assert len(known) == len(TRAINED)


def test_the_ablations_of_the_paper_differ_from_full_in_their_one_field() -> None:
    for name, changed in (
        ("outcome-only", {"lambda_max"}),
        ("step-only", {"lambda_max", "lambda_schedule"}),
        ("full", set()),
        ("no-warm-up", {"warmup"}),
        ("no-position-decay", {"position_decay"}),
        ("no-density-weight", {"gamma"}),
    ):
        config = ARMS[name].scoring_config.model_dump()
        assert {key for key, value in PAPER.model_dump().items() if config[key] != value} == changed


def test_robust_is_ablated_in_each_of_its_parts() -> None:
    assert ROBUST_PARTS
    before = ARMS["robust"].scoring_config
    assert before == ROBUST.model_copy(update={"distinct_exponent": 0.75}) != ROBUST
    assert ARMS["robust-without-distinct-exponent"].scoring_config == ROBUST
    for part in (*ROBUST_PARTS, "distinct_exponent"):
        config = ARMS[f"robust-without-{part.replace('_', '-')}"].scoring_config
        assert config == before.model_copy(update={part: getattr(PAPER, part)}) != before


def test_quick_arms_and_references_are_arms() -> None:
    assert {*QUICK_ARMS} <= ARMS.keys()
    assert {*REFERENCES} <= TABLE_AND_STUDIES.keys()


def test_reference_faithful_puts_back_what_its_config_does(tmp_path: Path) -> None:
    config = read_toml(REFERENCE_FAITHFUL)
    settings = run_settings(ARMS["reference-faithful"], 0, plan(tmp_path))
    assert isinstance(settings, ReleasedCodeSettings)
    assert settings.reference_defects.put_back == [*config["reference_defects"]]
    assert (settings.reward.config, settings.reward.overrides) == (
        config["reward"]["config"],
        config["reward"]["overrides"],
    )


def test_each_defect_that_has_an_arm_is_put_back_alone(tmp_path: Path) -> None:
    assert DEFECTS
    for defect in DEFECTS:
        arm = ARMS[f"full-with-{defect.replace('_', '-')}"]
        settings = run_settings(arm, 0, plan(tmp_path))
        assert isinstance(settings, ReleasedCodeSettings)
        assert settings.reference_defects.put_back == [defect]
        assert arm.scoring_config == PAPER


def test_an_unknown_arm_is_refused_with_a_list_of_the_arms() -> None:
    with pytest.raises(ValidationError, match="there is no arm 'fulll'; the arms are base, "):
        ReplicationSettings(arms=("fulll",))


def test_a_recipe_covers_what_determines_a_result_and_not_its_location(tmp_path: Path) -> None:
    arm, the_plan = ARMS["full"], plan(tmp_path)
    known = recipe(arm, 0, the_plan)
    assert recipe(arm, 0, replace(the_plan, runs=tmp_path / "elsewhere", reward_url="http://other")) == known
    assert recipe(replace(arm, meaning="other words"), 0, the_plan) == known
    others = [
        recipe(arm, 1, the_plan),
        recipe(ARMS["robust"], 0, the_plan),
        recipe(ARMS["hard-majority"], 0, the_plan),
        recipe(arm, 0, replace(the_plan, samples=4)),
        recipe(arm, 0, replace(the_plan, task="one-path")),
    ]
    assert len({known, *others}) == 6


def _experiment(arm: Arm, folder: Path) -> dict[str, object]:
    settings: RunSettings = run_settings(arm, 0, plan(folder))
    return settings.experiment
