"""Writes tiny checkpoints with random weights, one per family of vision-language models, from config classes alone.

    python -m scripts.tiny_families FOLDER [FAMILY ...]

Each has the architecture, the processor and the chat template of its family in small: two layers, and the tokenizer of
our tiny model with the family's own special tokens. Nothing is downloaded. `docs/models.md` lists which of them train.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ireasoner.compat import repairs

_TEMPLATE = (
    "{{% for message in messages %}}<|im_start|>{{{{ message['role'] }}}}\n"
    "{{% if message['content'] is string %}}{{{{ message['content'] }}}}"
    "{{% else %}}{{% for part in message['content'] %}}"
    "{{% if part['type'] == 'image' %}}{image}{{% elif part['type'] == 'text' %}}{{{{ part['text'] }}}}{{% endif %}}"
    "{{% endfor %}}{{% endif %}}<|im_end|>\n{{% endfor %}}"
    "{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}"
)
_TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
    "bos_token_id": None,
}
_EYES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
_QWEN_TOKENS = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}


def tokenizer(image: str, tokens: Mapping[str, str], bos: str | None = None) -> Any:
    """Our tiny model's tokenizer with a family's special tokens, and its chat template.

    Args:
        image: What the template writes for an image.
        tokens: The special tokens, by the name under which the processor asks for them.
        bos: A token that starts each text, and that the template writes as well, as in Gemma's.
    """
    from transformers import PreTrainedTokenizerFast

    from ireasoner.trainer.tiny_model.task import TASKS
    from ireasoner.trainer.tiny_model.tokenizer import build_tokenizer

    template = ("{{{{ bos_token }}}}" if bos else "") + _TEMPLATE
    built = build_tokenizer("", TASKS["sums"].world)
    return PreTrainedTokenizerFast(
        tokenizer_object=built.backend_tokenizer,
        eos_token=built.eos_token,
        pad_token=built.pad_token,
        bos_token=bos,
        add_bos_token=bos is not None,
        extra_special_tokens=dict(tokens),
        model_max_length=2048,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=template.format(image=image),
    )


def text_config(words: Any, **fields: Any) -> dict[str, Any]:
    """The config of a language model with the vocabulary of a tokenizer."""
    ends = {"eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    return {**_TEXT, "vocab_size": len(words), **ends, **fields}


def _qwen2_vl() -> tuple[Any, Any]:
    from transformers import Qwen2VLConfig, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    words = tokenizer("<|vision_start|><|image_pad|><|vision_end|>", _QWEN_TOKENS)
    config = Qwen2VLConfig(
        text_config=text_config(
            words, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}
        ),
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
        tie_word_embeddings=True,
        **qwen_ids(words),
    )
    size = {"shortest_edge": 28 * 28, "longest_edge": 16 * 28 * 28}
    return config, Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=words,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=words.chat_template,
    )


def _qwen3_vl() -> tuple[Any, Any]:
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLProcessor, Qwen3VLVideoProcessor

    words = tokenizer("<|vision_start|><|image_pad|><|vision_end|>", _QWEN_TOKENS)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=text_config(words, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        tie_word_embeddings=True,
        **qwen_ids(words),
    )
    size = {"shortest_edge": 32 * 32, "longest_edge": 16 * 32 * 32}
    return config, Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(
            size=size, patch_size=16, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]
        ),
        tokenizer=words,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=words.chat_template,
    )


def qwen_ids(words: Any) -> dict[str, int]:
    """The ids of Qwen's tokens around an image, as its configs name them."""
    names = {
        "image": "image_pad",
        "video": "video_pad",
        "vision_start": "vision_start",
        "vision_end": "vision_end",
    }
    return {f"{name}_token_id": words.convert_tokens_to_ids(f"<|{token}|>") for name, token in names.items()}


def _llava() -> tuple[Any, Any]:
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaProcessor

    words = tokenizer("<image>\n", {"image_token": "<image>"})
    config = LlavaConfig(
        text_config={"model_type": "llama", **text_config(words)},
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **_EYES},
        image_token_index=words.image_token_id,
        tie_word_embeddings=False,
    )
    return config, LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=words.chat_template,
    )


def _llava_onevision() -> tuple[Any, Any]:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    words = tokenizer("<image>\n", {"image_token": "<image>", "video_token": "<video>"})
    pinpoints = [[56, 56], [56, 112], [112, 56], [112, 112]]
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **text_config(words)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **_EYES},
        image_token_index=words.image_token_id,
        video_token_index=words.video_token_id,
        image_grid_pinpoints=pinpoints,
        tie_word_embeddings=False,
    )
    size = {"height": 56, "width": 56}
    return config, LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        tokenizer=words,
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=words.chat_template,
    )


def _internvl() -> tuple[Any, Any]:
    from transformers import GotOcr2ImageProcessor, InternVLConfig, InternVLProcessor, InternVLVideoProcessor

    words = tokenizer(
        "<IMG_CONTEXT>\n",
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    config = InternVLConfig(
        text_config={"model_type": "qwen2", **text_config(words)},
        vision_config={**_EYES, "image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=words.context_image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    size = {"height": 56, "width": 56}
    return config, InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=2),
        tokenizer=words,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=words.chat_template,
    )


def _gemma3() -> tuple[Any, Any]:
    from transformers import Gemma3Config, Gemma3ImageProcessor, Gemma3Processor

    words = tokenizer(
        "<start_of_image>",
        {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"},
        bos="<bos>",
    )
    # vLLM joins the newlines around an image into these.
    words.add_tokens(["\n" * count for count in range(1, 5)])
    config = Gemma3Config(
        text_config=text_config(
            words, bos_token_id=words.bos_token_id, query_pre_attn_scalar=32, sliding_window=512
        ),
        vision_config={"vision_use_head": False, **_EYES},
        mm_tokens_per_image=4,
        boi_token_index=words.boi_token_id,
        eoi_token_index=words.eoi_token_id,
        image_token_index=words.image_token_id,
    )
    return config, Gemma3Processor(
        image_processor=Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        tokenizer=words,
        image_seq_length=4,
        chat_template=words.chat_template,
    )


def _smolvlm() -> tuple[Any, Any]:
    from transformers import SmolVLMConfig, SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    words = tokenizer(
        "<image>",
        {
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    )
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **text_config(words)},
        vision_config=_EYES,
        image_token_id=words.image_token_id,
        pad_token_id=words.pad_token_id,
        scale_factor=2,
        tie_word_embeddings=False,
    )
    size = {"longest_edge": 112}
    return config, SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(size=size, max_image_size={"longest_edge": 56}),
        tokenizer=words,
        video_processor=SmolVLMVideoProcessor(
            size=size,
            max_image_size={"longest_edge": 56},
            video_sampling={"max_frames": 8, "fps": 1, "video_size": size},
        ),
        image_seq_len=4,
        chat_template=words.chat_template,
    )


def _mistral3() -> tuple[Any, Any]:
    from transformers import Mistral3Config, PixtralImageProcessor, PixtralProcessor

    tokens = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    words = tokenizer("[IMG]", tokens)
    config = Mistral3Config(
        text_config={"model_type": "mistral", "sliding_window": None, **text_config(words)},
        vision_config={"model_type": "pixtral", **_EYES},
        image_token_index=words.image_token_id,
        spatial_merge_size=2,
        tie_word_embeddings=False,
    )
    return config, PixtralProcessor(
        image_processor=PixtralImageProcessor(size={"longest_edge": 56}, patch_size=14),
        tokenizer=words,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=words.chat_template,
        **tokens,
    )


FAMILIES: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "qwen2-vl": _qwen2_vl,
    "qwen3-vl": _qwen3_vl,
    "llava": _llava,
    "llava-onevision": _llava_onevision,
    "internvl": _internvl,
    "gemma3": _gemma3,
    "mistral3": _mistral3,
    "smolvlm": _smolvlm,
}
"""The config and the processor of each family."""


def build(family: str, folder: Path, seed: int = 0) -> Path:
    """Writes the checkpoint of a family, in float32; returns `folder`."""
    repairs.install()
    return write(*FAMILIES[family](), folder, seed)


def write(config: Any, processor: Any, folder: Path, seed: int) -> Path:
    """Writes a checkpoint with random weights, in float32; returns `folder`."""
    import torch
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(config).float()
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    if config.vision_config.model_type in ("clip_vision_model", "siglip_vision_model"):
        name_as_published(folder / "model.safetensors")
    processor.save_pretrained(folder)
    return folder


def name_as_published(weights: Path) -> None:
    """Names the weights of a CLIP or SigLIP tower as in published checkpoints.

    transformers 5 writes them without `vision_model` and reads both; vLLM reads the published names alone.
    """
    from safetensors.torch import load_file, save_file

    named = {
        name.replace("vision_tower.", "vision_tower.vision_model.", 1): tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(named, weights, metadata={"format": "pt"})


def main(arguments: Sequence[str]) -> None:
    """Writes the checkpoints that are asked for, and prints their folders."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tiny_families", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="each checkpoint becomes a folder in it")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"default: all, {', '.join(FAMILIES)}")
    given = parser.parse_args(arguments)
    for name in given.families:
        if name not in FAMILIES:
            parser.error(f"there is no family {name!r}; there are {', '.join(FAMILIES)}")
    for name in given.families or FAMILIES:
        print(build(name, given.folder / name))


if __name__ == "__main__":
    main(sys.argv[1:])
