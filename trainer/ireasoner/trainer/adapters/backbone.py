"""The policy: one frozen backbone with one adapter per role."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.images import has_pixel_bounds
from ireasoner.trainer.rollouts.prompts import proposer_messages
from ireasoner.trainer.rollouts.rollout import FORBIDDEN_BIAS, MAX_FORBIDDEN
from ireasoner.trainer.settings import ROLES, AdapterName, LoraSettings
from ireasoner.trainer.silenced import silenced

_PLACEHOLDER = re.compile(r"(image|video|audio|vision_start|vision_end|boi|eoi)(_\w+)?_token_(id|index)")
"""Fields of a config that hold the id of a token that stands for something else than text, or encloses it."""


def language_model_layers(backbone: Any) -> re.Pattern[str]:
    """Matches the names of modules and weights of the language model."""
    decoder = backbone.get_decoder()
    prefix = next(name for name, module in backbone.named_modules() if module is decoder)
    return re.compile(rf"(^|\.){re.escape(prefix)}\.")


def is_hub_id(model: str) -> bool:
    """Whether a model is looked for on the hub: it is no folder here, and its name could be one of the hub."""
    on_disk = model.startswith((".", "/", "~")) or model.endswith("/") or model.count("/") > 1
    return not on_disk and not Path(model).exists()


def load_config(model: str) -> Any:
    """The base model's architecture, from its config.json alone.

    Raises:
        SettingsError: There is no such model, or it is on the hub and the hub cannot be reached.
    """
    with readable(model):
        return AutoConfig.from_pretrained(model)


def load_backbone(model: str, dtype: str) -> Any:
    """The base model, in `dtype` (`float32`, `bfloat16`, `auto`), on the CPU. Raises as `load_config` does."""
    with readable(model):
        return AutoModelForImageTextToText.from_pretrained(model, dtype=getattr(torch, dtype, dtype))


def load_processor(model: str, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """Tokenizer and image processor of the base model, with left padding for generation.

    Args:
        model: Folder or hub id.
        min_pixels: Smallest area of an image for the policy, in pixels; None for the checkpoint's own.
        max_pixels: Largest area, likewise.

    Raises:
        SettingsError: As for `load_config`, or one bound of the run and the other one of the checkpoint contradict each
            other.
    """
    with readable(model):
        processor = AutoProcessor.from_pretrained(model, padding_side="left")
        _start_once(processor)
    bound_pixels(processor.image_processor, min_pixels, max_pixels)
    return processor


def _start_once(processor: Any) -> None:
    """Takes the token that starts a text from the tokenizer if the chat template writes it, as vLLM does."""
    tokenizer = processor.tokenizer
    if tokenizer.bos_token is None or not (processor.chat_template or tokenizer.chat_template):
        return
    text = processor.apply_chat_template(proposer_messages(), tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text)["input_ids"]
    if text.startswith(tokenizer.bos_token) and ids[:2] == 2 * [tokenizer.bos_token_id]:
        tokenizer.add_bos_token = False


@contextmanager
def readable(model: str, *, file: bool = False) -> Iterator[None]:
    """Names a model that cannot be read, and silences the hub's own report of its retries.

    Args:
        model: Folder or hub id.
        file: Whether it may also be a file.

    Raises:
        SettingsError: The block failed: what transformers raises for a broken file depends on the file.
    """
    path = Path(model).expanduser()
    if path.exists() and not path.is_dir() and not file:
        raise SettingsError(f"model: {model} is a file: give the folder that holds config.json")
    if not path.exists() and not is_hub_id(model):
        raise SettingsError(f"model: {model} cannot be read: there is no such folder")
    try:
        with silenced("huggingface_hub"):
            yield
    except Exception as error:
        reason = " ".join(f"{error}".split()).rstrip(".")
        if not isinstance(error, OSError | ValueError):
            reason = f"{type(error).__name__}: {reason}"
        hint = "" if path.exists() else "; or give --model FOLDER with a config.json"
        raise SettingsError(f"model: {model} cannot be read: {reason}{hint}") from error


def load_image_processor(model: str, *, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """The image processor alone, bounded as in `load_processor`; None if the model has no file that describes it."""
    try:
        image_processor = AutoImageProcessor.from_pretrained(model)
    except OSError:
        return None
    bound_pixels(image_processor, min_pixels, max_pixels)
    return image_processor


def bound_pixels(image_processor: Any, min_pixels: int | None, max_pixels: int | None) -> None:
    """Replaces the checkpoint's bounds of an image's area, in pixels; see `load_processor`."""
    if not has_pixel_bounds(image_processor):
        given = "max_pixels" if max_pixels is not None else "min_pixels" if min_pixels is not None else None
        if given is not None:
            raise SettingsError(
                f"rollout.{given}: {type(image_processor).__name__} has no bounds of an image's area: it scales every "
                f"image to sizes of its own; leave rollout.{given} out, also in the file of --config"
            )
        return
    size = image_processor.size
    least, most = min_pixels or size.shortest_edge, max_pixels or size.longest_edge
    if least > most:
        raise SettingsError(
            f"rollout: min_pixels {least} is above max_pixels {most}; "
            "what the run does not set comes from the checkpoint, so set both"
        )
    image_processor.size = replace(size, shortest_edge=least, longest_edge=most)


def lora_config(
    backbone: Any, settings: LoraSettings, *, within: re.Pattern[str] | None = None
) -> LoraConfig:
    """The adapter's shape, with the full name of every target layer.

    Args:
        backbone: The base model.
        settings: The adapter's settings.
        within: Only layers whose name matches get an adapter (default: those of the language model). vLLM ignores
            adapters elsewhere, which would make the served policy another than the trained one.

    Raises:
        SettingsError: No matching layer has one of the names in `target_modules`.
    """
    wanted = set(settings.target_modules)
    within = within or language_model_layers(backbone)
    linear = {
        name: name.rsplit(".", 1)[-1]
        for name, module in backbone.named_modules()
        if isinstance(module, torch.nn.Linear) and within.search(name)
    }
    names = [name for name, kind in linear.items() if kind in wanted]
    missing = wanted - set(linear.values())
    if missing:
        raise SettingsError(
            f"lora.target_modules: the language model has no linear layer {sorted(missing)}; it has "
            f"{sorted(set(linear.values()))}"
        )
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=names,
        bias="none",
        task_type="CAUSAL_LM",
    )


def name_roles(policy: PeftModel, config: LoraConfig) -> None:
    """Replaces the adapter that TRL made by one per role. Both start as the base model (B is zero)."""
    for role in ROLES:
        policy.add_adapter(role, config)
    policy.set_adapter("solver")
    policy.delete_adapter("default")


@contextmanager
def active_adapter(policy: PeftModel, name: str | None) -> Iterator[None]:
    """Makes the adapter `name` the active one while the block lasts; None turns adapters off."""
    if name is None:
        with policy.disable_adapter():
            yield
        return
    before = policy.active_adapter
    policy.set_adapter(name)
    try:
        yield
    finally:
        policy.set_adapter(before)


def role_parameters(policy: PeftModel, role: AdapterName) -> dict[str, torch.nn.Parameter]:
    """The parameters of one role's adapter, by name."""
    marker = f".{role}."
    return {
        name: parameter for name, parameter in policy.named_parameters() if marker in name and "lora_" in name
    }


def stop_token_ids(generation_config: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids of the tokens that end a completion: the tokenizer's end of sequence, and the checkpoint's."""
    declared = generation_config.eos_token_id
    ids = set(declared if isinstance(declared, list) else [declared]) | {tokenizer.eos_token_id}
    return tuple(sorted(token_id for token_id in ids if token_id is not None))


def placeholder_token_ids(config: Any) -> tuple[int, ...]:
    """Ids of the placeholders of images and videos, and of what encloses them, which must never be sampled."""
    fields = {name: getattr(config, name) for name in (*config.to_dict(), *config.attribute_map)}
    ids = {held for name, held in fields.items() if _PLACEHOLDER.fullmatch(name) and isinstance(held, int)}
    return tuple(sorted(ids))


def forbidden_token_ids(config: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that a policy must never sample: the placeholders, and those of the vocabulary that the tokenizer lacks.

    Raises:
        SettingsError: There are more than vLLM can forbid.
    """
    unmapped = set(range(config.get_text_config().vocab_size)).difference(tokenizer.get_vocab().values())
    ids = sorted(unmapped.union(placeholder_token_ids(config)))
    if len(ids) > MAX_FORBIDDEN:
        raise SettingsError(
            f"model: its tokenizer lacks {len(unmapped)} ids of its vocabulary, and vLLM can forbid {MAX_FORBIDDEN}: "
            "do tokenizer and weights belong together?"
        )
    return tuple(ids)


def forbidden_for(model: str) -> tuple[int, ...]:
    """`forbidden_token_ids` of a base model, without its weights. Raises SettingsError, also as `load_config` does."""
    return forbidden_token_ids(load_config(model), load_processor(model).tokenizer)


def forbid_tokens(backbone: Any, token_ids: Sequence[int]) -> None:
    """Gives the backbone's head the bias that forbids tokens in the rollout server.

    Every log-probability that is computed with the head, of the policy and of the reference, is then one of the
    distribution that was sampled from.
    """
    head = backbone.get_output_embeddings()
    weight = head.weight
    bias = (
        torch.zeros(weight.size(0), dtype=weight.dtype, device=weight.device)
        if head.bias is None
        else head.bias.detach()
    )
    bias[list(token_ids)] += FORBIDDEN_BIAS
    head.bias = torch.nn.Parameter(bias, requires_grad=False)
