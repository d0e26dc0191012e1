"""The policy: one frozen backbone with one adapter per role."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.settings import ROLES, LoraSettings, Role

LANGUAGE_MODEL = re.compile(r"(^|\.)language_model\.")
"""Matches the names of modules and weights of the language model."""


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


def load_processor(model: str) -> Any:
    """Tokenizer and image processor of the base model, with left padding. Raises as `load_config` does."""
    with readable(model):
        return AutoProcessor.from_pretrained(model, padding_side="left")


@contextmanager
def readable(model: str) -> Iterator[None]:
    """Names a model that cannot be read, and silences the hub's own report of its retries.

    Raises:
        SettingsError: The block failed: what transformers raises for a broken file depends on the file.
    """
    path = Path(model).expanduser()
    if path.exists() and not path.is_dir():
        raise SettingsError(f"model: {model} is a file: give the folder that holds config.json")
    if not path.exists() and not is_hub_id(model):
        raise SettingsError(f"model: {model} cannot be read: there is no such folder")
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it logs each of its retries; the error reports the last
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{error}".split()).rstrip(".")
        if not isinstance(error, OSError | ValueError):
            reason = f"{type(error).__name__}: {reason}"
        hint = "" if path.is_dir() else "; or give --model FOLDER with a config.json"
        raise SettingsError(f"model: {model} cannot be read: {reason}{hint}") from error
    finally:
        hub.setLevel(level)


def lora_config(
    backbone: Any, settings: LoraSettings, *, within: re.Pattern[str] = LANGUAGE_MODEL
) -> LoraConfig:
    """The adapter's shape, with the full name of every target layer.

    Args:
        backbone: The base model.
        settings: The adapter's settings.
        within: Only layers whose name matches get an adapter. vLLM ignores adapters outside the language model, so an
            adapter there would make the served policy another than the trained one.

    Raises:
        SettingsError: No matching layer has one of the names in `target_modules`.
    """
    wanted = set(settings.target_modules)
    names = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rsplit(".", 1)[-1] in wanted and within.search(name)
    ]
    missing = wanted - {name.rsplit(".", 1)[-1] for name in names}
    if missing:
        raise SettingsError(f"lora.target_modules: the language model has no linear layer {sorted(missing)}")
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


def role_parameters(policy: PeftModel, role: Role) -> dict[str, torch.nn.Parameter]:
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
    """Ids of the image and video placeholders, which must never be sampled."""
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = {getattr(config, name, None) for name in names}
    return tuple(sorted(token_id for token_id in ids if token_id is not None))
