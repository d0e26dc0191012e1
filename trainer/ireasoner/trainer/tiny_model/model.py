"""The tiny vision-language model: architecture and processor of Qwen2.5-VL, small enough to commit."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ireasoner.compat import repairs
from ireasoner.trainer.tiny_model.task import TASKS, Task
from ireasoner.trainer.tiny_model.tokenizer import EOS, PAD, build_tokenizer

if TYPE_CHECKING:
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
    )

IMAGE_PX = 84 * 84
"""Every image is resized to about this many pixels, which are nine image tokens."""

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.j2").read_text(encoding="utf-8")
"""ChatML, with images and videos as placeholders."""


def build_processor(task: Task = TASKS["sums"]) -> "Qwen2_5_VLProcessor":
    """transformers' processor for Qwen2.5-VL with the tokenizer of a task."""
    return processor_with(build_tokenizer(CHAT_TEMPLATE, task.world))


def processor_with(tokenizer: "PreTrainedTokenizerFast") -> "Qwen2_5_VLProcessor":
    """transformers' processor for Qwen2.5-VL with a tokenizer; it scales every image to nine image tokens."""
    repairs.install()
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    sizes = {"shortest_edge": IMAGE_PX, "longest_edge": IMAGE_PX}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=sizes),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=sizes),
        chat_template=CHAT_TEMPLATE,
    )


def small_tower(hidden_size: int) -> dict[str, Any]:
    """The config of a vision tower of one layer, for a language model of width `hidden_size`."""
    return {
        "depth": 1,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": hidden_size,
        "fullatt_block_indexes": [0],
        "window_size": 112,
    }


def special_token_ids(processor: "Qwen2_5_VLProcessor") -> dict[str, int]:
    """The fields of a config that name the placeholders of images and videos."""
    ids = processor.tokenizer.get_vocab()
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    fields = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return {field: ids[f"<|{name}|>"] for field, name in zip(fields, names, strict=True)}


def build_model(processor: "Qwen2_5_VLProcessor", seed: int) -> "Qwen2_5_VLForConditionalGeneration":
    """A randomly initialised model in float32; its heads have size 32, which vLLM's CPU attention supports."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = dict(processor.tokenizer.get_vocab())
    torch.manual_seed(seed)
    hidden = 128
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(ids),
            "hidden_size": hidden,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.06,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": 3.0, "mrope_section": [2, 7, 7]},
            "bos_token_id": None,
            "eos_token_id": ids[EOS],
            "pad_token_id": ids[PAD],
        },
        vision_config=small_tower(hidden),
        **special_token_ids(processor),
        tie_word_embeddings=True,
        dtype="float32",
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = generation_config(processor)
    return model


def adopt(
    model: "Qwen2_5_VLForConditionalGeneration", processor: "Qwen2_5_VLProcessor", folder: Path
) -> None:
    """Copies the weights of another tiny model, and its embeddings of the tokens that both have."""
    import torch

    other, its_processor = load(folder)
    theirs = its_processor.tokenizer.get_vocab()
    shared = [
        (index, theirs[token]) for token, index in processor.tokenizer.get_vocab().items() if token in theirs
    ]
    ours_index, theirs_index = torch.tensor(shared).T
    embeddings = model.get_input_embeddings().weight
    weights = other.state_dict()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter is embeddings:
                parameter[ours_index] = other.get_input_embeddings().weight[theirs_index]
            else:
                parameter.copy_(weights[name])


def generation_config(processor: "Qwen2_5_VLProcessor") -> "GenerationConfig":
    """Plain sampling from the whole distribution, which is the distribution that the trainer assumes."""
    from transformers import GenerationConfig

    ids = processor.tokenizer.get_vocab()
    return GenerationConfig(
        do_sample=True, temperature=1.0, top_p=1.0, top_k=0, eos_token_id=ids[EOS], pad_token_id=ids[PAD]
    )


def load(folder: Path) -> "tuple[Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor]":
    """A checkpoint's model in float32 and evaluation mode, and its processor.

    Raises:
        SettingsError: The folder holds no model.
    """
    repairs.install()
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from ireasoner.trainer.adapters.backbone import readable

    with readable(str(folder)):
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")
        return model.eval(), AutoProcessor.from_pretrained(folder)
