"""TRL: real training, on one process and on two, with whole groups and with groups split over ranks."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.frameworks.conftest import Solver, lines, run_script

GROUP_SIZE = 4


def test_training(compass_url: str, tmp_path: Path, solver: Solver) -> None:
    """One run of the script, since importing TRL is what takes long; then each of its trainings."""
    run_script(sys.executable, "trl_training", compass_url, str(tmp_path))
    for run, ranks, rows in (("single", 1, 32), ("whole", 2, 4), ("split", 2, 2)):
        given = every_group_got_what_score_solver_gives(tmp_path / run, solver, ranks, rows)
        assert len(set(given)) > 3
        if run == "single":
            assert None in given, "the server abstained from nothing"
        log = json.loads((tmp_path / run / "log.json").read_text())
        assert log["moved"]
        assert {"agreement/outcome", "agreement/trajectory", "agreement/abstained"} <= log["history"][
            0
        ].keys()
    a_rank_without_a_server_got_none_and_the_run_went_on(tmp_path / "broken", solver)
    the_example_trained_on_text_alone(tmp_path / "example")


def calls(folder: Path) -> list[list[dict[str, Any]]]:
    """What each rank's reward function saw and gave, by call."""
    ranks = [lines(file) for file in sorted(folder.glob("rank*.jsonl"))]
    return [list(call) for call in zip(*ranks, strict=True)]


def every_group_got_what_score_solver_gives(
    folder: Path, solver: Solver, ranks: int, rows: int
) -> list[float | None]:
    """The same, to the last digit, whichever rank a row is on; None where the server abstains."""
    given: list[float | None] = []
    for call in calls(folder):
        assert [len(rank["texts"]) for rank in call] == [rows] * ranks
        prompts, texts, rewards = (
            [row for rank in call for row in rank[name]] for name in ("prompts", "texts", "rewards")
        )
        for start in range(0, len(texts), GROUP_SIZE):
            members = slice(start, start + GROUP_SIZE)
            assert len(set(prompts[members])) == 1
            assert rewards[members] == solver(texts[members], call[0]["progress"])
        given += rewards
    return given


def a_rank_without_a_server_got_none_and_the_run_went_on(folder: Path, solver: Solver) -> None:
    for sound, broken in calls(folder):
        assert broken["rewards"] == [None, None]
        assert sound["rewards"] == solver([*sound["texts"], *broken["texts"]], sound["progress"])[:2]


def the_example_trained_on_text_alone(folder: Path) -> None:
    history = json.loads((folder / "log.json").read_text())["history"]
    assert [entry["agreement/valid"] for entry in history[:2]] == [0.0, 0.0]
    assert "train_loss" in history[-1]
