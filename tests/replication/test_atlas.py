"""The atlas as an experiment: what it runs, what it keeps, and shares of what true answers gain."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ireasoner.reward_server.scoring_config import PRESETS
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.tiny_model.task import TaskName
from replication.atlas import WORLDS, AtlasSettings, main, methods_of, page, shares, write_pages
from replication.run import run_settings
from replication.settings import Plan
from tests.replication.test_replicate import complete

WORDS = ["--no-run", "--worlds", "sums,one-path", "--methods", "ttrl,empo", "--seeds", "3"]


@pytest.mark.parametrize("world", WORLDS)
def test_every_preset_without_a_judge_is_a_method_that_the_trainer_can_give_what_it_needs(
    world: TaskName, tmp_path: Path
) -> None:
    settings = AtlasSettings(runs=tmp_path)
    plan = Plan.of(settings.table(world))
    left_out = {"judge-bounded"} | ({"views"} if world in ("readings", "scenes") else set())
    assert list(dict.fromkeys(arm.preset for arm in methods_of(world))) == [
        name for name in PRESETS if name not in left_out
    ]
    names = [arm.name for arm in methods_of(world)]
    assert len(set(names)) == len(names)
    for arm in methods_of(world):
        assert arm.scoring_config == PRESETS[arm.preset]
        for seed in range(settings.seeds):
            Needs.of(arm.scoring_config.model_dump()).check(run_settings(arm, seed, plan))


def test_voters_and_views_are_named() -> None:
    of_world = {arm.name: arm.trainer for arm in methods_of("one-path")}
    assert of_world["co-rewarding-teacher"] == {"reward": {"voters": "teacher"}}
    assert len(of_world["views"]["views"]["names"]) == 4
    assert [arm.name for arm in AtlasSettings(methods=("co-rewarding",)).arms("scenes")] == [
        "base",
        "true-answers",
        "co-rewarding-teacher",
    ]


def test_what_is_complete_is_written_world_by_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = AtlasSettings(runs=tmp_path / "runs", methods=("ttrl", "empo"))
    for world, gains in (("sums", (0.25, 0.75, 0.5, 0.25)), ("one-path", (0.25, 0.75, 0.25, 0.25))):
        plan = Plan.of(settings.table(world))  # type: ignore[arg-type]
        for arm, greedy in zip(settings.arms(plan.task), gains, strict=True):
            for seed in range(3):
                complete(replace(plan), arm, seed, greedy)
    with pytest.raises(SystemExit) as ended:
        main([*WORDS, "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    assert "24 runs, 0 missing: about 0.0 hours" in capsys.readouterr().out
    found = {
        world: json.loads((tmp_path / "out" / world / "results.json").read_text())
        for world in ("sums", "one-path")
    }
    assert shares(found["sums"])["ttrl"] == pytest.approx([0.5] * 3)
    assert shares(found["one-path"])["ttrl"] == pytest.approx([0.0] * 3)
    text = (tmp_path / "out" / "atlas.md").read_text()
    assert "| `ttrl` | 50% (50%, 50%, 50%) | 0% (0%, 0%, 0%) |" in text
    assert "sums (+0.500)" in text
    assert "ttrl" in (tmp_path / "out" / "atlas.svg").read_text()
    page_file = tmp_path / "out" / "atlas.md"
    page_file.write_text(f"# Mine\n\nBefore.\n\n{text[text.index('<!--') :].replace('50%', '1%')}\nAfter.\n")
    assert [file.name for file in write_pages(tmp_path / "out")] == ["atlas.md", "atlas.svg"]
    assert page_file.read_text() == f"# Mine\n\nBefore.\n\n{text[text.index('<!--') :]}\nAfter.\n"


def test_without_results_nothing_is_written(tmp_path: Path) -> None:
    assert write_pages(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_without_true_answers_nothing_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "sums").mkdir()
    document = {
        "task": "sums",
        "arms": [{"arm": "ttrl", "against": {"base": {"by_seed": {"greedy": [0.1]}}}}],
    }
    (tmp_path / "sums" / "results.json").write_text(json.dumps(document))
    assert [file.name for file in write_pages(tmp_path)] == ["atlas.md"]
    assert "| method | sums |" in (tmp_path / "atlas.md").read_text()


@pytest.mark.parametrize("gain", [0.0, -0.1, None])
def test_where_true_answers_gain_nothing_there_is_no_share(gain: float | None) -> None:
    base = {"by_seed": {"greedy": [0.1]}}
    arms = [{"arm": "ttrl", "against": {"base": base}}]
    if gain is not None:
        of_truth = {**base, "both": {"greedy": {"mean": gain}}}
        arms.append({"arm": "true-answers", "against": {"base": of_truth}})
    shown = page({"sums": {"task": "sums", "arms": arms}})
    assert "| `ttrl` |  |" in shown
    assert "nan" not in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--methods", "ttrl,votes"], "there is no preset 'votes'"),
        (["--methods", "ttrl,judge-bounded"], "judge-bounded needs a judge"),
        (["--worlds", "sum"], "worlds"),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_a_wrong_flag_ends_with_2(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
