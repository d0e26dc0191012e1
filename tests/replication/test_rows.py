"""The rows of the table: each is a config of its own that the reward server and the trainer take."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from ireasoner.reward_server.scoring.fingerprint import fingerprint
from ireasoner.reward_server.scoring_config import PAPER, ROBUST
from ireasoner.trainer.settings import RunSettings, read_toml
from replication.released_code_settings import ReleasedCodeSettings
from replication.rows import DEFECTS, QUICK_ROWS, REFERENCES, ROBUST_PARTS, ROWS, Row
from replication.run import recipe, run_settings
from replication.settings import ReplicationSettings
from tests.replication.plan import plan

REFERENCE_FAITHFUL = Path(__file__).resolve().parents[2] / "configs" / "reference-faithful.toml"
TRAINED = [row for row in ROWS.values() if row.trained]


@pytest.mark.parametrize("row", TRAINED, ids=lambda row: row.name)
def test_every_row_is_a_config_that_the_trainer_takes(row: Row, tmp_path: Path) -> None:
    settings = run_settings(row, 3, plan(tmp_path))
    assert settings.seed == 3
    assert settings.reward.config == row.preset
    assert settings.reward.overrides == dict(row.overrides)


def test_no_two_rows_train_on_the_same(tmp_path: Path) -> None:
    """Fingerprint of the scoring, reward variant and trainer's settings tell all rows apart."""
    told = {
        json.dumps([fingerprint(row.scoring_config, "e"), row.variant, _experiment(row, tmp_path)])
        for row in TRAINED
    }
    assert len(told) == len(TRAINED)


def test_the_ablations_of_the_paper_differ_from_full_in_their_one_field() -> None:
    for name, changed in (
        ("outcome-only", {"lambda_max"}),
        ("step-only", {"lambda_max", "lambda_schedule"}),
        ("full", set()),
        ("no-warm-up", {"warmup"}),
        ("no-position-decay", {"position_decay"}),
        ("no-density-weight", {"gamma"}),
    ):
        config = ROWS[name].scoring_config.model_dump()
        assert {key for key, value in PAPER.model_dump().items() if config[key] != value} == changed


def test_robust_is_ablated_in_each_of_its_parts() -> None:
    assert ROBUST_PARTS
    for part in ROBUST_PARTS:
        config = ROWS[f"robust-without-{part.replace('_', '-')}"].scoring_config
        assert config == ROBUST.model_copy(update={part: getattr(PAPER, part)}) != ROBUST


def test_rows_that_are_referred_to_are_there() -> None:
    assert {*QUICK_ROWS, *REFERENCES} <= ROWS.keys()


def test_reference_faithful_puts_back_what_its_config_does(tmp_path: Path) -> None:
    config = read_toml(REFERENCE_FAITHFUL)
    settings = run_settings(ROWS["reference-faithful"], 0, plan(tmp_path))
    assert isinstance(settings, ReleasedCodeSettings)
    assert settings.reference_defects.put_back == [*config["reference_defects"]]
    assert (settings.reward.config, settings.reward.overrides) == (
        config["reward"]["config"],
        config["reward"]["overrides"],
    )


def test_each_defect_that_has_a_row_is_put_back_alone(tmp_path: Path) -> None:
    assert DEFECTS
    for defect in DEFECTS:
        row = ROWS[f"full-with-{defect.replace('_', '-')}"]
        settings = run_settings(row, 0, plan(tmp_path))
        assert isinstance(settings, ReleasedCodeSettings)
        assert settings.reference_defects.put_back == [defect]
        assert row.scoring_config == PAPER


def test_a_row_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValidationError, match="there is no row 'fulll'; there are base, "):
        ReplicationSettings(rows=("fulll",))


def test_a_recipe_is_of_all_that_shapes_a_result_and_not_of_where_it_lies(tmp_path: Path) -> None:
    row, there = ROWS["full"], plan(tmp_path)
    told = recipe(row, 0, there)
    assert recipe(row, 0, replace(there, runs=tmp_path / "elsewhere", reward_url="http://other")) == told
    assert recipe(replace(row, meaning="other words"), 0, there) == told
    others = [
        recipe(row, 1, there),
        recipe(ROWS["robust"], 0, there),
        recipe(ROWS["hard-majority"], 0, there),
        recipe(row, 0, replace(there, samples=4)),
        recipe(row, 0, replace(there, task="one-path")),
    ]
    assert len({told, *others}) == 6


def _experiment(row: Row, folder: Path) -> dict[str, object]:
    settings: RunSettings = run_settings(row, 0, plan(folder))
    return settings.experiment
