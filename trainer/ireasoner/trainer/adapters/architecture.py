"""What a base model must have to be trained, decided by its config and its processor, not by its name."""

from typing import Any

from PIL import Image
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.rollouts.prompts import proposer_messages

IMAGE_INPUTS = (
    "pixel_values",
    "pixel_attention_mask",
    "image_grid_thw",
    "image_sizes",
    "image_position_ids",
    "spatial_shapes",
    "token_type_ids",
    "mm_token_type_ids",
)
"""What TRL's training forward pass takes of a processor besides the tokens."""

TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")
"""Those of them that have a value per token; it is 0 for text."""

_IMPLIED = frozenset({"input_ids", "attention_mask", "batch_num_images"})
"""Inputs that every forward pass has, or that follow from one image per prompt."""


def refuse_other_kinds(model: str, config: Any) -> None:
    """Refuses a base model that is no vision-language decoder.

    Raises:
        SettingsError: It is a text-only model, an encoder-decoder, or nothing that answers a question about an image.
    """
    kind = f"model: {model} ({config.model_type})"
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or not _sees_images(config):
        if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise SettingsError(
                f"{kind} is a text-only model, and training is on images: give a vision-language model, give this one "
                "eyes (ireasoner graft, for Qwen2.5), or train it in a framework that calls the reward server "
                "(docs/frameworks)"
            )
        raise SettingsError(
            f"{kind} is no model that transformers can ask about an image (AutoModelForImageTextToText)"
        )
    if config.is_encoder_decoder:
        raise SettingsError(
            f"{kind} is an encoder-decoder: rollouts are continuations of a prompt with the image in it"
        )


def _sees_images(config: Any) -> bool:
    return getattr(config, "vision_config", None) is not None


def refuse_other_inputs(model: str, processor: Any) -> None:
    """Has the processor make a prompt with an image, and refuses inputs that the training forward pass does not take.

    Raises:
        SettingsError: The processor cannot, or makes such inputs.
    """
    try:
        inputs = prompt_inputs(processor, Image.new("RGB", (64, 64), "grey"))
    except Exception as error:  # a template or a processor of any kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingsError(
            f"model: {model}: its processor makes no prompt with an image: {reason}"
        ) from error
    unknown = sorted(set(inputs) - {*IMAGE_INPUTS, *_IMPLIED})
    if unknown or "pixel_values" not in inputs:
        what = f"the inputs {', '.join(unknown)}" if unknown else "no pixel_values"
        raise SettingsError(
            f"model: {model}: its processor makes {what}: the training forward pass takes {', '.join(IMAGE_INPUTS)}"
        )


def prompt_inputs(processor: Any, picture: Image.Image) -> dict[str, Any]:
    """The inputs of a forward pass over the Proposer's prompt about an image, as tensors."""
    text = processor.apply_chat_template(proposer_messages(), tokenize=False, add_generation_prompt=True)
    return dict(processor(images=[[picture]], text=[text], return_tensors="pt"))


def image_tokens(processor: Any, width: int, height: int) -> int:
    """The tokens that an image of some size adds to a prompt, measured with a grey one."""
    text = processor.apply_chat_template(proposer_messages(), tokenize=False, add_generation_prompt=True)
    whole = prompt_inputs(processor, Image.new("RGB", (width, height), "grey"))["input_ids"].shape[1]
    return int(whole - len(processor.tokenizer(text)["input_ids"]) + 1)
