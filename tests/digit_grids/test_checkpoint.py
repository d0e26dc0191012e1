"""The committed checkpoint: its size, its classes and its scores."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ireasoner.compat import repairs
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.tiny_model.evaluation import Scores, proposals, score
from ireasoner.trainer.tiny_model.model import load
from ireasoner.trainer.tiny_model.task import TASKS
from ireasoner.trainer.worlds.digit_grids.folders import held_out
from ireasoner.trainer.worlds.digit_grids.question import KINDS, find_question

CHECKPOINT = Path(__file__).parents[2] / "models" / "digit-grids"
SEED = 11
QUESTIONS_ASKED = 240


@pytest.fixture(scope="module")
def scores() -> Scores:
    torch.set_num_threads(1)
    model, processor = load(CHECKPOINT)
    return score(model, processor, TASKS["sums"].world.scored(QUESTIONS_ASKED, SEED), samples=8, seed=SEED)


def test_it_is_at_most_10_mb() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.rglob("*")) <= 10_000_000


def test_it_loads_as_transformers_own_classes() -> None:
    repairs.install()
    from transformers import (
        AutoModelForImageTextToText,
        AutoProcessor,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
    )

    assert type(AutoModelForImageTextToText.from_pretrained(CHECKPOINT)) is Qwen2_5_VLForConditionalGeneration
    assert type(AutoProcessor.from_pretrained(CHECKPOINT)) is Qwen2_5_VLProcessor


@pytest.mark.parametrize("size", [(64, 64), (84, 84), (640, 480), (31, 200), (1000, 1000)])
def test_any_picture_becomes_about_nine_tokens(size: tuple[int, int]) -> None:
    _, processor = load(CHECKPOINT)
    text = processor.apply_chat_template(
        solver_messages("What is this?"), add_generation_prompt=True, tokenize=False
    )
    ids = processor(text=[text], images=[Image.new("RGB", size)], return_tensors="pt")["input_ids"]
    assert 4 <= int((ids == processor.image_token_id).sum()) <= 16


@pytest.mark.slow
def test_it_answers_in_the_right_form_and_reads_the_cells(scores: Scores) -> None:
    assert scores.form >= 0.97
    assert scores.reading >= 0.93


@pytest.mark.slow
def test_there_is_something_to_learn_and_something_to_learn_from(scores: Scores) -> None:
    assert 0.35 <= scores.greedy <= 0.62
    assert scores.majority_gain.mean >= 0.10
    assert scores.any_sample >= 0.90


def test_the_proposer_asks_questions_of_every_kind() -> None:
    model, processor = load(CHECKPOINT)
    grids = [grid.image for grid, _ in held_out(120, SEED)]
    asked = [proposed for proposed in proposals(model, processor, grids, SEED) if proposed is not None]
    known = [question for question in map(find_question, asked) if question is not None]
    assert len(known) >= 0.85 * len(grids)
    assert {question.kind for question in known} == set(KINDS)
