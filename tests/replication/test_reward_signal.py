"""The figures of a run's reward, on groups written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from ireasoner.trainer.worlds.digit_grids.held_out import training_grids
from ireasoner.trainer.worlds.digit_grids.question import READINGS
from replication.reward_signal import read_signal

SOUND = ["Row 2 reads 3, 5, 8.", "3 + 5 = 8.", "8 + 8 = 16."]
LUCKY = ["Row 2 reads 3, 5, 8.", "3 + 5 = 9.", "9 + 8 = 16."]
WRONG = ["Row 2 reads 3, 5, 8.", "3 + 5 = 8.", "8 + 8 = 15."]


def write_groups(folder: Path, *rollouts: tuple[list[str], float, float], **asked: str) -> None:
    """One labelled group of rollouts: the steps, the step reward, and the trained reward; its question and image."""
    right = [steps is not WRONG for steps, _, _ in rollouts]
    group: dict[str, Any] = {
        **asked,
        "role": "solver",
        "progress": 0.9,
        "rollouts": [
            {"trajectory": step, "steps": [{"text": text, "cosine": 0.5} for text in steps]}
            for steps, step, _ in rollouts
        ],
        "trained_on": [reward for _, _, reward in rollouts],
        "shadow": {"pseudo_label_right": True, "right": right, "reward_auc": 1.0},
    }
    (folder / "groups.jsonl").write_text(json.dumps(group) + "\n")


def test_the_reward_of_sound_rollouts_is_compared_with_that_of_lucky_ones(tmp_path: Path) -> None:
    write_groups(tmp_path, (SOUND, 0.2, 0.9), (LUCKY, 0.8, 0.5), (LUCKY, 0.1, 0.5), (WRONG, 0.0, 1.0))
    signal = read_signal(tmp_path)
    assert signal["lucky_share"] == pytest.approx(2 / 3)
    assert signal["reward_soundness_correlation"] == 1.0
    assert signal["step_reward_correlation"] == 0.0
    assert signal["step_separation"] == 0.5


def test_readings_are_checked_against_the_image(tmp_path: Path) -> None:
    [grid] = training_grids(1, 0, READINGS)
    grid.image.save(tmp_path / "grid.png")
    asked = READINGS[0].about(grid)
    truth = [reading.number for reading in asked.readings]
    misread = [truth[0], (truth[1] + 2) % 10, *truth[2:]]
    lucky = asked.reading_steps(misread)
    write_groups(
        tmp_path,
        (asked.true_readings, 0.2, 0.9),
        (lucky, 0.1, 0.5),
        (WRONG, 0.0, 1.0),
        question=asked.text,
        image=str(tmp_path / "grid.png"),
    )
    signal = read_signal(tmp_path)
    assert signal["lucky_share"] == 0.5
    assert signal["reward_soundness_correlation"] == signal["step_reward_correlation"] == 1.0


def test_without_lucky_rollouts_there_is_nothing_to_compare(tmp_path: Path) -> None:
    write_groups(tmp_path, (SOUND, 0.2, 0.9), (SOUND, 0.8, 0.5), (WRONG, 0.0, 1.0))
    signal = read_signal(tmp_path)
    assert signal["lucky_share"] == 0.0
    assert signal["reward_soundness_correlation"] is None
    assert signal["step_reward_correlation"] is None
