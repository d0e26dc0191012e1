"""TRL: real training, on one process and on two, with whole groups and with groups split over ranks."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.conftest import Solver, lines, run_script

GROUP_SIZE = 4


@pytest.fixture(scope="module")
def runs(compass_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what `trl_training` wrote."""
    folder = tmp_path_factory.mktemp("trl")
    run_script(sys.executable, "trl_training", compass_url, str(folder))
    return folder


def calls(folder: Path) -> list[list[dict[str, Any]]]:
    """What each rank's reward function saw and gave, by call."""
    ranks = [lines(file) for file in sorted(folder.glob("rank*.jsonl"))]
    return [list(call) for call in zip(*ranks, strict=True)]


@pytest.mark.parametrize(("run", "ranks", "rows"), [("single", 1, 8), ("whole", 2, 4), ("split", 2, 2)])
def test_every_group_got_what_score_solver_gives(
    runs: Path, solver: Solver, run: str, ranks: int, rows: int
) -> None:
    """The same, to the last digit, whichever rank a row is on; None where the server abstains."""
    given: list[float | None] = []
    for call in calls(runs / run):
        assert [len(rank["texts"]) for rank in call] == [rows] * ranks
        prompts, texts, rewards = (
            [row for rank in call for row in rank[name]] for name in ("prompts", "texts", "rewards")
        )
        for start in range(0, len(texts), GROUP_SIZE):
            members = slice(start, start + GROUP_SIZE)
            assert len(set(prompts[members])) == 1
            assert rewards[members] == solver(texts[members], call[0]["progress"])
        given += rewards
    assert len(set(given)) > 3
    log = json.loads((runs / run / "log.json").read_text())
    assert log["moved"]
    assert {"agreement/outcome", "agreement/trajectory", "agreement/abstained"} <= log["history"][0].keys()


def test_none_is_among_the_rewards(runs: Path) -> None:
    """The server abstained from some rollout, and TRL went on."""
    given = [reward for call in calls(runs / "single") for rank in call for reward in rank["rewards"]]
    assert None in given


def test_a_rank_without_a_server_gets_none_and_the_run_goes_on(runs: Path, solver: Solver) -> None:
    for call in calls(runs / "broken"):
        sound, broken = call
        assert broken["rewards"] == [None, None]
        assert sound["rewards"] == solver([*sound["texts"], *broken["texts"]], sound["progress"])[:2]


def test_the_example_trains_on_text_alone(runs: Path) -> None:
    history = json.loads((runs / "example" / "log.json").read_text())["history"]
    assert [entry["agreement/valid"] for entry in history[:2]] == [0.0, 0.0]
    assert "train_loss" in history[-1]
