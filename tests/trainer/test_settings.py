"""The settings of a run: the file, the flags, and refusals."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from ireasoner.compat.flags import describe
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.loop.role_schedule import role_at
from ireasoner.trainer.settings import RunSettings, read_toml

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted({*(ROOT / "configs").glob("*.toml")} - {ROOT / "configs" / "reference-faithful.toml"})
"""All but the ablation of `replication`."""
NEEDED: dict[str, Any] = {"model": "m", "images": "i", "run_folder": "r"}


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('updates = 7\ngroup_size = 4\n[lora]\nr = 2\nalpha = 3\n[grpo]\nloss_type = "dapo"\n')

    settings = CliApp.run(
        RunSettings,
        ["--model", "m", "--images", "i", "--run-folder", "r", "--updates", "9", "--lora.r", "8"],
        **read_toml(file),
    )

    assert (settings.updates, settings.group_size) == (9, 4)
    assert (settings.lora.r, settings.lora.alpha) == (8, 3)
    assert settings.grpo == {"loss_type": "dapo"}


def test_a_proposer_update_follows_every_five_solver_updates() -> None:
    settings = RunSettings(**NEEDED, proposer_every=5)
    roles = [role_at(settings, update) for update in range(13)]
    assert roles == (["solver"] * 5 + ["proposer"]) * 2 + ["solver"]


def test_a_frozen_proposer_is_never_updated() -> None:
    settings = RunSettings(**NEEDED, proposer_every=0)
    assert {role_at(settings, update) for update in range(50)} == {"solver"}


def test_progress_runs_from_0_to_1() -> None:
    settings = RunSettings(**NEEDED, updates=11)
    assert settings.progress_at(0) == 0.0
    assert settings.progress_at(5) == 0.5
    assert settings.progress_at(10) == 1.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"group_size": 5, "groups_per_update": 2, "micro_batch_size": 4}, "does not divide the 10 rollouts"),
        ({"lora": {"rank": 3}}, "lora.rank: there is no such setting"),
        ({"group_size": 1}, "group_size: Input should be greater than or equal to 2, not 1"),
        ({"colour": "red"}, "colour: there is no such setting"),
    ],
)
def test_settings_that_cannot_be_run_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RunSettings(**{**NEEDED, **fields})
    assert message in describe(caught.value, RunSettings)


def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("updates = 7\ngroup size = 4\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_toml(file)


@pytest.mark.parametrize(
    "flags", [["--views.names", "plain,m:f,m:f"], ["--views.names=plain", "--views.names=m:f,m:f"]]
)
def test_views_are_named_by_flags(flags: list[str]) -> None:
    settings = CliApp.run(
        RunSettings, ["--model", "m", "--images", "i", "--run-folder", "r", "--group-size", "6", *flags]
    )
    assert settings.views.names == ("plain", "m:f", "m:f")


def test_flags_with_names_and_values_are_parsed() -> None:
    given = {"epsilon": "0.3", "loss_type": "dapo", "mask_truncated_completions": "true", "delta": 2}
    parsed = {"epsilon": 0.3, "loss_type": "dapo", "mask_truncated_completions": True, "delta": 2}
    settings = RunSettings(**{**NEEDED, "grpo": given, "reward": {"overrides": {"alpha": "1.0"}}})
    assert settings.grpo == parsed
    assert settings.reward.overrides == {"alpha": 1.0}
    assert (
        settings.experiment
        == RunSettings(**{**NEEDED, "grpo": parsed, "reward": {"overrides": {"alpha": 1.0}}}).experiment
    )


def test_where_a_run_computes_is_no_part_of_the_experiment() -> None:
    """A run that began on a CPU can say so when it resumes."""
    plain = RunSettings(**{**NEEDED, "grpo": {"epsilon": 0.3}})
    on_cpu = RunSettings(**{**NEEDED, "grpo": {"epsilon": 0.3, "use_cpu": True}})
    assert on_cpu.experiment == plain.experiment != RunSettings(**NEEDED).experiment


def test_a_rollout_server_for_the_run_gets_its_rank_and_image_bounds() -> None:
    settings = RunSettings(**{**NEEDED, "lora": {"r": 64}, "rollout": {"max_pixels": 1003520}})
    assert settings.rollout_server_flags == [
        *("--model", str(NEEDED["model"])),
        *("--max-lora-rank", "64"),
        *("--max-pixels", "1003520"),
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_committed_config_can_be_run(path: Path) -> None:
    RunSettings(**{**NEEDED, **read_toml(path)})


def test_the_reward_servers_token_comes_from_its_file_and_is_no_part_of_the_experiment(
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    settings = RunSettings(**NEEDED, reward={"token_file": file})
    assert settings.reward.token() == "secret"
    assert settings.experiment == RunSettings(**NEEDED).experiment

    file.unlink()
    with pytest.raises(SettingsError, match="token_file"):
        settings.reward.token()
