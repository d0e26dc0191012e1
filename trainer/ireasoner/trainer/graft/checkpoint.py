"""The grafted checkpoint: a language model in the architecture of Qwen2.5-VL, with a small vision tower."""

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from ireasoner.trainer.adapters.backbone import load_config, load_processor
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.graft.text_model import TextModel
from ireasoner.trainer.images import has_pixel_bounds
from ireasoner.trainer.tiny_model.model import IMAGE_PX, generation_config, small_tower, special_token_ids

MARK = "grafted"
"""Field of a config that says that graft made the vision tower."""

_OF_THE_FILES = frozenset(
    {
        "_model_name_or_path",
        "_name_or_path",
        "architectures",
        "model_type",
        "quantization_config",
        "transformers_version",
    }
)
"""Fields of a text model's config that describe its files, not its architecture."""


def is_grafted(model: str) -> bool:
    """Whether a model is a grafted checkpoint; False for one without a vision tower.

    Raises:
        SettingsError: It cannot be read, or has another vision tower.
    """
    if Path(model).expanduser().is_file():
        return False
    config = load_config(model)
    if getattr(config, "vision_config", None) is None:
        return False
    if not getattr(config, MARK, False) or not _scales_to_nine_tokens(model):
        raise SettingsError(f"model: {model} has a vision tower that graft did not make: train it as it is")
    return True


def graft(text: TextModel, processor: Any, seed: int) -> Any:
    """The language model with a vision tower of random weights, in the language model's dtype.

    Args:
        text: The language model; the result shares its weights.
        processor: The processor with its tokenizer.
        seed: Seed of the tower's weights.
    """
    config = _config(text, processor)
    dtype = next(iter(text.weights.values())).dtype
    weights = {_name(name): weight for name, weight in text.weights.items()}
    torch.manual_seed(seed)
    tower = Qwen2_5_VisionTransformerPretrainedModel._from_config(config.vision_config)
    weights |= {f"model.visual.{name}": weight.to(dtype) for name, weight in tower.state_dict().items()}
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        None, config=config, state_dict=weights, dtype=dtype
    )
    model.generation_config = generation_config(processor)
    model.generation_config.eos_token_id = list(text.stop_token_ids)
    return model.eval()


def mrope_section(head_size: int) -> list[int]:
    """How many of a head's rotary frequencies encode the time, row and column of a token.

    The shares are those of Qwen2.5-VL, whose heads of 128 have [16, 24, 24].
    """
    frequencies = head_size // 2
    rows = columns = 3 * frequencies // 8
    return [frequencies - rows - columns, rows, columns]


def _scales_to_nine_tokens(model: str) -> bool:
    image_processor = load_processor(model).image_processor
    size = image_processor.size
    return has_pixel_bounds(image_processor) and size.shortest_edge == size.longest_edge == IMAGE_PX


def _config(text: TextModel, processor: Any) -> Qwen2_5_VLConfig:
    fields = {name: value for name, value in text.config.to_dict().items() if name not in _OF_THE_FILES}
    section = mrope_section(text.config.hidden_size // text.config.num_attention_heads)
    fields["rope_parameters"] = {**text.config.rope_parameters, "mrope_section": section}
    return Qwen2_5_VLConfig(
        text_config=fields,
        vision_config=small_tower(text.config.hidden_size),
        **special_token_ids(processor),
        tie_word_embeddings=text.config.tie_word_embeddings,
        **{MARK: True},
    )


def _name(name: str) -> str:
    """The name that a weight of the language model has in the grafted checkpoint."""
    return name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else name
