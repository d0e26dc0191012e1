"""A user's own arms: what the file may hold, and that they are in the table beside ours."""

import json
from pathlib import Path

import pytest

from ireasoner.reward_server.scoring_config import PRESETS
from ireasoner.trainer.errors import SettingsError
from replication.__main__ import main
from replication.arms import ARMS
from replication.extra_arms import read_extra_arms
from replication.run import begin, recipe
from replication.settings import ReplicationSettings
from tests.replication.plan import plan
from tests.replication.test_replicate import complete

SLOW = """
[slow-decay]
meaning = "full, the weight of late steps decays half as fast"
overrides = { position_decay = 0.05 }
trainer = { kl = { beta = 0.05 } }
"""
OWN = """
[few-steps]
meaning = "fewer steps are better"
preset = "robust"
trainer.reward.function = "tests.replication.own_reward:few_steps"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "arms.toml"
    file.write_text(text)
    return file


def test_each_table_of_a_file_is_an_arm(tmp_path: Path) -> None:
    arms = read_extra_arms(written(tmp_path, SLOW + OWN))
    assert list(arms) == ["slow-decay", "few-steps"]
    assert arms["slow-decay"].scoring_config.position_decay == 0.05
    assert arms["slow-decay"].trainer == {"kl": {"beta": 0.05}}
    assert arms["few-steps"].scoring_config == PRESETS["robust"]
    assert arms["few-steps"].trainer == {"reward": {"function": "tests.replication.own_reward:few_steps"}}


def test_extra_arms_run_beside_the_arms_they_are_compared_with(tmp_path: Path) -> None:
    file = written(tmp_path, SLOW)
    names = [arm.name for arm in ReplicationSettings(extra_arms=file).wanted_arms]
    assert names == ["base", "outcome-only", "full", "slow-decay"]
    chosen = ReplicationSettings(extra_arms=file, arms=("robust",))
    assert [arm.name for arm in chosen.wanted_arms] == ["base", "robust", "slow-decay"]
    assert chosen.out_folder == Path("runs/replication/results")


def test_an_extra_arm_is_in_the_results(tmp_path: Path) -> None:
    file = written(tmp_path, SLOW)
    the_plan = plan(tmp_path / "runs")
    for name, greedy in (("base", 0.25), ("outcome-only", 0.5), ("full", 0.5)):
        complete(the_plan, ARMS[name], 0, greedy)
    complete(the_plan, read_extra_arms(file)["slow-decay"], 0, 0.75)
    words = ["--extra-arms", str(file), "--no-run", "--images", "16", "--questions", "8", "--samples", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--runs", str(the_plan.runs)])
    assert ended.value.code == 0
    document = json.loads((the_plan.runs / "results" / "results.json").read_text())
    last = document["arms"][-1]
    assert (last["arm"], last["against"]["full"]["test"]["greedy"]["mean"]) == ("slow-decay", 0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[full]\nmeaning = 'x'", "full: an arm's name has"),
        ("[logs]\nmeaning = 'x'", "logs: an arm's name has"),
        ("['../x']\nmeaning = 'x'", "../x: an arm's name has"),
        ("[x]\noverrides = {}", "x: meaning is required"),
        ("[x]\nmeaning = 'x'\nrewards = 1", "x: rewards: there is no such setting"),
        (
            "[x]\nmeaning = 'x'\noverrides = { gama = 1 }",
            "x: gama: there is no such setting; did you mean gamma?",
        ),
        ("[x]\nmeaning = 'x'\noverrides = { gamma = -1 }", "x: gamma: Input should be greater"),
        (
            "[x]\nmeaning = 'x'\ntrainer = { seed = 1 }",
            "x: trainer: seed is set by the command",
        ),
        (
            "[x]\nmeaning = 'x'\ntrainer = { reward = { config = 'robust' } }",
            "reward.config is set by the command",
        ),
        (
            "[x]\nmeaning = 'x'\ntrainer.reward.function = 'json:nothing'",
            "json:nothing is not module:function",
        ),
        ("[x]\nmeaning = 'x'\ntrainer.reward.function = '.x:f'", ".x:f is not module:function"),
        (
            "[x]\nmeaning = 'x'\ntrainer.reward.function = 'json:__doc__'",
            "json:__doc__ is not module:function",
        ),
        ("[x]\nmeaning = 'x'\ntrainer.reward.function = 'math:sqrt'", "math:sqrt must take three arguments"),
        ("[x]\nmeaning = 'x'\ntrainer.reward.function = 'math:fma_'", "math:fma_ is not module:function"),
        (
            "[x]\nmeaning = 'x'\npreset = 'robst'",
            "there is no preset 'robst'; the presets are paper, robust, ttrl",
        ),
        ("[x]\nmeaning = 'x'\noverrides = { preset = 'robust' }", "preset is a field beside overrides"),
        ("[x]\nmeaning = 'x'\ntrainer = { reward = 'm:f' }", "your own reward is trainer.reward.function"),
        ("x = ", "arms.toml: Invalid value"),
        ("x = 1", "x: Input should be"),
    ],
)
def test_an_error_in_a_file_is_reported(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_extra_arms(written(tmp_path, text))
    assert message in str(raised.value)


def test_a_wrong_setting_of_the_trainer_is_reported_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "[x]\nmeaning = 'x'\ntrainer = { kl = { betta = 1 } }")
    with pytest.raises(SystemExit) as ended:
        main(["--extra-arms", str(file), "--runs", str(tmp_path / "runs")])
    assert ended.value.code == 2
    assert "x: kl.betta: there is no such setting; did you mean kl.beta?" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "logs").exists()


def test_a_changed_reward_is_another_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("def reward(groups, rewards, progress): return rewards\n")
    arm = read_extra_arms(written(tmp_path, "[x]\nmeaning = 'x'\ntrainer.reward.function = 'mine:reward'"))[
        "x"
    ]
    the_plan = plan(tmp_path / "runs")
    before = recipe(arm, 0, the_plan)
    assert recipe(arm, 0, the_plan) == before
    (tmp_path / "mine.py").write_text("def reward(groups, rewards, progress): return [[None]]  # another\n")
    assert recipe(arm, 0, the_plan) != before


def test_a_changed_arm_does_not_continue_a_run_that_another_recipe_began(tmp_path: Path) -> None:
    the_plan = plan(tmp_path / "runs")
    arm = read_extra_arms(written(tmp_path, SLOW))["slow-decay"]
    assert begin(arm, 0, the_plan) == recipe(arm, 0, the_plan)
    (the_plan.folder("slow-decay", 0) / "run").mkdir()
    begin(arm, 0, the_plan)
    changed = read_extra_arms(written(tmp_path, SLOW.replace("0.05 }", "0.02 }", 1)))["slow-decay"]
    with pytest.raises(SettingsError, match="holds a run that another recipe began"):
        begin(changed, 0, the_plan)
    begin(changed, 1, the_plan)
