"""A grafted checkpoint is one of Qwen2.5-VL, and for text it is the language model that it was made of."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForImageTextToText, AutoProcessor, Qwen2ForCausalLM

from ireasoner.trainer.adapters.backbone import forbidden_token_ids, lora_config
from ireasoner.trainer.graft.checkpoint import mrope_section
from ireasoner.trainer.loop.preflight import supported_config
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.settings import LoraSettings
from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import random_grids


@pytest.fixture(scope="module")
def loaded(seeing_folder: Path) -> tuple[Any, Any]:
    """Model and processor as any software loads them."""
    model = AutoModelForImageTextToText.from_pretrained(seeing_folder).eval()
    return model, AutoProcessor.from_pretrained(seeing_folder)


def test_it_has_the_architecture_that_the_trainer_needs(seeing_folder: Path, loaded: tuple[Any, Any]) -> None:
    model, processor = loaded
    assert type(model).__name__ == "Qwen2_5_VLForConditionalGeneration"
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    supported_config(str(seeing_folder), Console())
    assert lora_config(model, LoraSettings()).target_modules
    placeholders = {"<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"}
    unmapped = set(range(300)) - set(processor.tokenizer.get_vocab().values())
    assert set(forbidden_token_ids(model.config, processor.tokenizer)) == unmapped | set(
        processor.tokenizer.convert_tokens_to_ids(list(placeholders))
    )


@torch.no_grad()
def test_for_text_it_is_the_language_model_to_the_bit(text_folder: Path, loaded: tuple[Any, Any]) -> None:
    ids = torch.arange(20, 120)[None]
    assert torch.equal(loaded[0](ids).logits, Qwen2ForCausalLM.from_pretrained(text_folder)(ids).logits)


@torch.no_grad()
def test_for_images_it_is_the_language_model_on_the_towers_tokens(loaded: tuple[Any, Any]) -> None:
    """Nine of them; another grid in the same prompt gives another distribution."""
    model, processor = loaded
    text = processor.apply_chat_template(
        solver_messages("What is the sum of row 1?"), add_generation_prompt=True, tokenize=False
    )
    last = []
    for grid in random_grids(load_digits_part("held-out"), 2, seed=0):
        inputs = processor(text=[text], images=[grid.image], return_tensors="pt")
        assert (inputs["input_ids"] == model.config.image_token_id).sum() == 9
        last.append(model(**inputs).logits[0, -1])
    assert torch.dist(*last) > 1e-3


def test_it_samples_from_the_whole_distribution(loaded: tuple[Any, Any]) -> None:
    """Without the text checkpoint's top_k and repetition penalty, which the trainer does not know."""
    declared = loaded[0].generation_config
    assert (declared.temperature, declared.top_p, declared.top_k) == (1.0, 1.0, 0)
    assert declared.repetition_penalty in (None, 1.0)
    assert declared.eos_token_id == [loaded[1].tokenizer.eos_token_id]


def test_its_config_names_no_path(seeing_folder: Path, text_folder: Path) -> None:
    written = (seeing_folder / "config.json").read_text()
    assert str(text_folder) not in written
    config = json.loads(written)
    assert config["tie_word_embeddings"] is True
    assert config["text_config"]["rope_parameters"] == {
        "rope_type": "default",
        "rope_theta": 20_000.0,
        "mrope_section": [4, 6, 6],
    }


@pytest.mark.parametrize(
    ("head_size", "section"),
    [
        (32, [4, 6, 6]),
        (64, [8, 12, 12]),
        (128, [16, 24, 24]),
        (80, [10, 15, 15]),
        (96, [12, 18, 18]),
        (20, [4, 3, 3]),
    ],
)
def test_the_sections_of_mrope_are_those_of_the_7b_in_proportion(head_size: int, section: list[int]) -> None:
    assert mrope_section(head_size) == section
    assert sum(section) == head_size // 2
