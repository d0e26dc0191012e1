"""The atlas as an experiment: what it runs, what it keeps, and shares of what true answers gain."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ireasoner.reward_server.scoring_config import PRESETS
from replication.atlas import METHODS, AtlasSettings, main, page, shares
from replication.settings import Plan
from tests.replication.test_replicate import complete

WORDS = ["--no-run", "--worlds", "sums,one-path", "--methods", "ttrl,empo", "--seeds", "3"]


def test_every_preset_is_a_method_and_is_scored_as_the_server_scores_it() -> None:
    assert [arm.name for arm in METHODS] == list(PRESETS)
    for arm in METHODS:
        assert arm.scoring_config == PRESETS[arm.name]


def test_what_is_complete_is_written_world_by_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = AtlasSettings(runs=tmp_path / "runs", methods=("ttrl", "empo"))
    for world, gains in (("sums", (0.25, 0.75, 0.5, 0.25)), ("one-path", (0.25, 0.75, 0.25, 0.25))):
        plan = Plan.of(settings.table(world))  # type: ignore[arg-type]
        for arm, greedy in zip(settings.arms, gains, strict=True):
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
    assert "| `ttrl` | 0% (0%, 0%, 0%) | 50% (50%, 50%, 50%) |" in text
    assert "sums (+0.500)" in text


@pytest.mark.parametrize("gain", [0.0, -0.1, None])
def test_where_true_answers_gain_nothing_there_is_no_share(gain: float | None) -> None:
    base = {"by_seed": {"greedy": [0.1]}}
    arms = [{"arm": "ttrl", "against": {"base": base}}]
    if gain is not None:
        of_truth = {**base, "both": {"greedy": {"mean": gain}}}
        arms.append({"arm": "true-answers", "against": {"base": of_truth}})
    assert "| `ttrl` |  |" in page({"sums": {"arms": arms}})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--methods", "ttrl,votes"], "there is no preset 'votes'"),
        (["--worlds", "sum"], "worlds"),
        (["--seeds", "0"], "seeds"),
    ],
)
def test_a_wrong_flag_ends_with_2(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err
