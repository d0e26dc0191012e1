"""The committed checkpoint of scenes: its size and its scores."""

from pathlib import Path

import pytest
import torch

from ireasoner.trainer.tiny_model.evaluation import Scores, proposals, score
from ireasoner.trainer.tiny_model.model import load
from ireasoner.trainer.tiny_model.task import TASKS
from ireasoner.trainer.worlds.scenes.held_out import training_picture
from ireasoner.trainer.worlds.scenes.question import BY_TEXT

CHECKPOINT = Path(__file__).parents[2] / "models" / TASKS["scenes"].model
SEED = 11


@pytest.fixture(scope="module")
def scores() -> Scores:
    torch.set_num_threads(1)
    model, processor = load(CHECKPOINT)
    return score(model, processor, TASKS["scenes"].world.scored(160, SEED), samples=8, seed=SEED)


def test_it_is_at_most_6_mb() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.rglob("*")) <= 6_000_000


@pytest.mark.slow
def test_it_answers_in_the_right_form_and_reads_the_cells(scores: Scores) -> None:
    assert scores.form >= 0.97
    assert scores.reading >= 0.85


@pytest.mark.slow
def test_there_is_something_to_learn_and_something_to_learn_from(scores: Scores) -> None:
    assert scores.majority_gain.mean >= 0.05
    assert scores.any_sample >= scores.majority + 0.05
    assert scores.majority >= scores.sampled


def test_the_proposers_questions_have_answers() -> None:
    model, processor = load(CHECKPOINT)
    pictures = [training_picture(SEED, number) for number in range(80)]
    asked = proposals(model, processor, [picture.image for picture in pictures], SEED)
    known = [
        BY_TEXT[text]
        for text, picture in zip(asked, pictures, strict=True)
        if text is not None and text in BY_TEXT and BY_TEXT[text].openings(picture.scene)
    ]
    assert len(known) >= 0.75 * len(pictures)
    assert {question.kind for question in known} >= {"corners", "bars", "count"}
