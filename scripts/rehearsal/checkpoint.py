"""A checkpoint of Qwen2.5-VL's architecture with random weights, at given dimensions."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from ireasoner.trainer.tiny_model.model import CHAT_TEMPLATE, generation_config, special_token_ids
from ireasoner.trainer.tiny_model.tokenizer import EOS, PAD
from scripts.rehearsal.planted_question import plant, question_chain

_PROMPT_END = "<|im_start|>assistant\n"
_PIXELS = {"shortest_edge": 3136, "longest_edge": 12_845_056}
"""The bounds that Qwen2.5-VL's checkpoints are published with."""
_SHARD = "4GB"
_LOGIT_SCALE = 0.02 * 2048
"""Largest logit of a token, at any width; that of Qwen2.5-VL-3B with its initial weights."""


def write_checkpoint(shape: dict[str, Any], tokenizer: Path, folder: Path, seed: int = 0) -> Path:
    """Writes config, processor and random weights in bfloat16.

    Args:
        shape: Fields of the config.
        tokenizer: Folder of a tokenizer with Qwen2.5's special tokens, and no more tokens than the shape has words.
        folder: The new folder.
        seed: Of the weights.
    """
    processor = _processor(tokenizer)
    processor.save_pretrained(folder)
    ids = processor.tokenizer.get_vocab()
    text = {**shape["text_config"], "bos_token_id": None, "eos_token_id": ids[EOS], "pad_token_id": ids[PAD]}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=shape["vision_config"],
        **special_token_ids(processor),
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu").tie_weights()
    _fill(model, seed)
    with torch.no_grad():
        plant(model, question_chain(processor.tokenizer, _PROMPT_END))
    model.generation_config = generation_config(processor)
    model.save_pretrained(folder, max_shard_size=_SHARD)
    return folder


def parameters(model: Path) -> int:
    """The number of parameters of a written checkpoint."""
    with torch.device("meta"):
        made = Qwen2_5_VLForConditionalGeneration._from_config(Qwen2_5_VLConfig.from_pretrained(model))
    return sum(parameter.numel() for parameter in made.parameters())


def _processor(tokenizer: Path) -> Any:
    read = AutoTokenizer.from_pretrained(tokenizer, padding_side="left")
    read.eos_token, read.pad_token = EOS, PAD
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=_PIXELS),
        tokenizer=read,
        video_processor=Qwen2VLVideoProcessor(size=_PIXELS),
        chat_template=CHAT_TEMPLATE,
    )


@torch.no_grad()
def _fill(model: Any, seed: int) -> None:
    """Draws weights that keep the scale of what passes through them, however many layers there are."""
    generator = torch.Generator().manual_seed(seed)
    layers = model.config.get_text_config().num_hidden_layers
    embeddings = model.get_input_embeddings().weight
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            continue
        inputs = parameter[0].numel()
        scale = _LOGIT_SCALE / inputs if parameter is embeddings else inputs**-0.5
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            scale *= (2 * layers) ** -0.5
        parameter.normal_(std=scale, generator=generator)
