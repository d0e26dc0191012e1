"""Rows of a user's own: what the file may say, and that they stand in the table beside ours."""

import json
from pathlib import Path

import pytest

from ireasoner.trainer.errors import SettingsError
from replication.__main__ import main
from replication.extra_rows import read_extra_rows
from replication.rows import ROWS
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
meaning = "the fewer steps the better"
preset = "robust"
reward = "tests.replication.own_reward:few_steps"
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "rows.toml"
    file.write_text(text)
    return file


def test_a_file_has_a_row_in_each_table(tmp_path: Path) -> None:
    rows = read_extra_rows(written(tmp_path, SLOW + OWN))
    assert list(rows) == ["slow-decay", "few-steps"]
    assert rows["slow-decay"].scoring_config.position_decay == 0.05
    assert rows["slow-decay"].trainer == {"kl": {"beta": 0.05}}
    assert rows["few-steps"].scoring_config == ROWS["robust"].scoring_config
    assert rows["few-steps"].variant == "tests.replication.own_reward:few_steps"


def test_extra_rows_are_run_beside_those_that_they_are_compared_with(tmp_path: Path) -> None:
    file = written(tmp_path, SLOW)
    names = [row.name for row in ReplicationSettings(extra_rows=file).wanted_rows]
    assert names == ["base", "outcome-only", "full", "slow-decay"]
    chosen = ReplicationSettings(extra_rows=file, rows=("robust",))
    assert [row.name for row in chosen.wanted_rows] == ["base", "robust", "slow-decay"]
    assert chosen.out_folder == Path("runs/replication/results")


def test_an_extra_row_is_in_the_results(tmp_path: Path) -> None:
    file = written(tmp_path, SLOW)
    there = plan(tmp_path / "runs")
    for name, greedy in (("base", 0.25), ("outcome-only", 0.5), ("full", 0.5)):
        complete(there, ROWS[name], 0, greedy)
    complete(there, read_extra_rows(file)["slow-decay"], 0, 0.75)
    words = ["--extra-rows", str(file), "--no-run", "--images", "16", "--questions", "8", "--samples", "2"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--runs", str(there.runs)])
    assert ended.value.code == 0
    document = json.loads((there.runs / "results" / "results.json").read_text())
    last = document["rows"][-1]
    assert (last["row"], last["against"]["full"]["test"]["greedy"]["mean"]) == ("slow-decay", 0.25)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[full]\nmeaning = 'x'", "full: a row's name is"),
        ("[logs]\nmeaning = 'x'", "logs: a row's name is"),
        ("['../x']\nmeaning = 'x'", "../x: a row's name is"),
        ("[x]\noverrides = {}", "x: meaning: Field required"),
        ("[x]\nmeaning = 'x'\nrewards = 1", "x: rewards: Extra inputs"),
        ("[x]\nmeaning = 'x'\noverrides = { gama = 1 }", "x: gama: Extra inputs"),
        ("[x]\nmeaning = 'x'\noverrides = { gamma = -1 }", "x: gamma: Input should be greater"),
        (
            "[x]\nmeaning = 'x'\ntrainer = { seed = 1 }",
            "x: trainer: Value error, seed is filled in by the table",
        ),
        (
            "[x]\nmeaning = 'x'\ntrainer = { reward = { config = 'robust' } }",
            "reward.config is filled in by the table",
        ),
        ("[x]\nmeaning = 'x'\nreward = 'json:nothing'", "json:nothing is not module:function"),
        ("[x]\nmeaning = 'x'\nreward = '.x:f'", ".x:f is not module:function"),
        ("[x]\nmeaning = 'x'\nreward = 'json:__doc__'", "json:__doc__ is not module:function"),
        ("[x]\nmeaning = 'x'\nreward = 'math:sqrt'", "math:sqrt: the source of the module cannot be read"),
        ("[x]\nmeaning = 'x'\noverrides = { preset = 'robust' }", "preset stands beside overrides"),
        ("[x]\nmeaning = 'x'\ntrainer = { reward = 'm:f' }", "a reward of your own stands beside trainer"),
        ("x = ", "rows.toml: Invalid value"),
        ("x = 1", "x: Input should be"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_extra_rows(written(tmp_path, text))
    assert told in str(raised.value)


def test_a_wrong_setting_of_the_trainer_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "[x]\nmeaning = 'x'\ntrainer = { kl = { betta = 1 } }")
    with pytest.raises(SystemExit) as ended:
        main(["--extra-rows", str(file), "--runs", str(tmp_path / "runs")])
    assert ended.value.code == 1
    assert "x: kl.betta: Extra inputs" in capsys.readouterr().out
    assert not (tmp_path / "runs" / "logs").exists()


def test_a_reward_that_was_rewritten_is_another_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("def reward(groups, rewards, progress): return rewards\n")
    row = read_extra_rows(written(tmp_path, "[x]\nmeaning = 'x'\nreward = 'mine:reward'"))["x"]
    there = plan(tmp_path / "runs")
    before = recipe(row, 0, there)
    assert recipe(row, 0, there) == before
    (tmp_path / "mine.py").write_text("def reward(groups, rewards, progress): return [[None]]  # another\n")
    assert recipe(row, 0, there) != before


def test_a_row_that_was_rewritten_does_not_go_on_with_what_another_began(tmp_path: Path) -> None:
    there = plan(tmp_path / "runs")
    row = read_extra_rows(written(tmp_path, SLOW))["slow-decay"]
    assert begin(row, 0, there) == recipe(row, 0, there)
    (there.folder("slow-decay", 0) / "run").mkdir()
    begin(row, 0, there)
    rewritten = read_extra_rows(written(tmp_path, SLOW.replace("0.05 }", "0.02 }", 1)))["slow-decay"]
    with pytest.raises(SettingsError, match="holds a run that another recipe began"):
        begin(rewritten, 0, there)
    begin(rewritten, 1, there)
