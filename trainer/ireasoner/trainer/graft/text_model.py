"""The language model to graft: a Qwen2.5 text checkpoint from the hub, a folder or a GGUF file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ireasoner.trainer.adapters.backbone import readable, stop_token_ids
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.tiny_model.tokenizer import EOS, PAD, SPECIAL_TOKENS

ARCHITECTURE = "qwen2"
"""transformers' name of the architecture of Qwen2.5's text models."""

GGUF_PACKAGE = "gguf>=0.17,<1"
"""What transformers reads a GGUF file with; no extra installs it."""

_EMBEDDINGS, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_DIGITS = tuple(map(str, range(10)))
_GGUF_MAGIC = b"GGUF"
_SAME_MATRIX = 0.1
"""Largest relative distance of two quantisations of one matrix: they differ by a few percent of its norm, different
matrices by more than all of it."""


@dataclass(frozen=True)
class TextModel:
    """A language model.

    Attributes:
        config: Its architecture.
        weights: Its weights, by their names in `Qwen2ForCausalLM`; without the head, if it is tied to the embeddings.
        tokenizer: Its tokenizer, which ends a turn with `<|im_end|>` and pads with `<|endoftext|>`.
        stop_token_ids: The tokens that end a completion.
    """

    config: Any
    weights: Mapping[str, torch.Tensor]
    tokenizer: Any
    stop_token_ids: Sequence[int]


def is_gguf(model: str) -> bool:
    """Whether a model is a GGUF file, by its first bytes."""
    path = Path(model).expanduser()
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        return opened.read(len(_GGUF_MAGIC)) == _GGUF_MAGIC


def read_text_model(model: str) -> TextModel:
    """Reads a text checkpoint onto the CPU, in its own dtype; a GGUF file in bfloat16.

    Raises:
        SettingsError: It cannot be read, has another architecture, or its tokenizer lacks a token that images need.
    """
    source = _source(model)
    file = "gguf_file" in source
    with readable(model, file=file):
        config = AutoConfig.from_pretrained(**source)
    _require_architecture(model, config)
    with readable(model, file=file):
        tokenizer = AutoTokenizer.from_pretrained(**source)
    _require_tokens(model, tokenizer)
    with readable(model, file=file):
        loaded = AutoModelForCausalLM.from_pretrained(
            **source, **_unpacked(source), dtype=torch.bfloat16 if file else "auto"
        )
    tokenizer.eos_token, tokenizer.pad_token = EOS, PAD
    return TextModel(
        config=loaded.config,
        weights=_without_second_copy(loaded.state_dict(), loaded.config, file=file),
        tokenizer=tokenizer,
        stop_token_ids=stop_token_ids(loaded.generation_config, tokenizer),
    )


def _source(model: str) -> dict[str, str]:
    """The arguments with which transformers reads a model."""
    path = Path(model).expanduser()
    if not path.is_file():
        return {"pretrained_model_name_or_path": model}
    if not is_gguf(model):
        raise SettingsError(
            f"model: {model} is a file: give the folder that holds config.json, or a GGUF file"
        )
    if find_spec("gguf") is None:
        raise SettingsError(f"model: reading {model} needs the package gguf: pip install '{GGUF_PACKAGE}'")
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}


def _unpacked(source: Mapping[str, str]) -> dict[str, Any]:
    """The arguments that give the weights of a GGUF file as plain tensors; older transformers always do."""
    config = getattr(transformers, "GgufConfig", None)
    return {"quantization_config": config(dequantize=True)} if config and "gguf_file" in source else {}


def _require_architecture(model: str, config: Any) -> None:
    if config.model_type != ARCHITECTURE:
        raise SettingsError(
            f"model: {model} has the architecture {config.model_type}; graft takes the text models of Qwen2.5 "
            f"({ARCHITECTURE}), such as Qwen/Qwen2.5-0.5B-Instruct"
        )
    if getattr(config, "quantization_config", None) is not None and not is_gguf(model):
        raise SettingsError(
            f"model: the weights of {model} are quantised; give the checkpoint that they were made of"
        )


def digit_token_ids(tokenizer: Any) -> list[int]:
    """The ids of the tokens that are the digits 0 to 9."""
    return [_token_ids(tokenizer, digit)[0] for digit in _DIGITS]


def _require_tokens(model: str, tokenizer: Any) -> None:
    """Refuses a tokenizer without a token that a prompt with an image needs, or without one for each digit."""
    missing = [token for token in (*SPECIAL_TOKENS, *_DIGITS) if len(_token_ids(tokenizer, token)) != 1]
    if missing:
        raise SettingsError(
            f"model: the tokenizer of {model} has no single token for {', '.join(missing)}; Qwen2.5's has them"
        )


def _token_ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _without_second_copy(
    weights: dict[str, torch.Tensor], config: Any, *, file: bool
) -> dict[str, torch.Tensor]:
    """The weights without a head that is the embeddings once more, as `config` says.

    A GGUF file stores tied embeddings twice, in two quantisations, and does not say that they are tied; the head's
    quantisation is the finer one.
    """
    if file:
        head, embeddings = weights[_HEAD].float(), weights[_EMBEDDINGS].float()
        if torch.dist(head, embeddings) < _SAME_MATRIX * embeddings.norm():
            config.tie_word_embeddings = True
    if config.tie_word_embeddings:
        weights[_EMBEDDINGS] = weights.pop(_HEAD)
    return weights
