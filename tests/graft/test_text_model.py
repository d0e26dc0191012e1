"""Which text checkpoints are read, and what is said of the others."""

import json
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, Qwen2ForCausalLM, Qwen3Config

from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.graft import text_model
from ireasoner.trainer.graft.text_model import is_gguf, read_text_model
from ireasoner.trainer.tiny_model.tokenizer import SPECIAL_TOKENS
from tests.graft.tiny_text import build_folder, build_gguf

needs_gguf = pytest.mark.skipif(find_spec("gguf") is None, reason="the package gguf is not installed")


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_is_read_as_it_is(tmp_path: Path, tied: bool) -> None:
    folder = build_folder(tmp_path / "text", tied=tied)
    text = read_text_model(str(folder))
    whole = Qwen2ForCausalLM.from_pretrained(folder).state_dict()
    assert text.config.tie_word_embeddings is tied
    assert text.weights.keys() == whole.keys() - ({"lm_head.weight"} if tied else set())
    assert all(torch.equal(weight, whole[name]) for name, weight in text.weights.items())
    assert (text.tokenizer.eos_token, text.tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert text.stop_token_ids == (text.tokenizer.eos_token_id,)


def test_an_end_of_text_that_the_checkpoint_declares_ends_a_completion_too(tmp_path: Path) -> None:
    """A base model's tokenizer ends with `<|endoftext|>`; a turn of the chat template ends with `<|im_end|>`."""
    folder = build_folder(tmp_path / "text")
    for name, field, value in (
        ("tokenizer_config.json", "eos_token", "<|endoftext|>"),
        ("generation_config.json", "eos_token_id", 260),
    ):
        written = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**written, field: value}))
    text = read_text_model(str(folder))
    assert text.tokenizer.eos_token == "<|im_end|>"
    assert text.stop_token_ids == tuple(sorted({260, text.tokenizer.eos_token_id}))


def test_a_gguf_file_gives_the_same_model(text_folder: Path, tmp_path: Path) -> None:
    """In its own dtype, with the finer of its two copies of the embeddings."""
    file = build_gguf(text_folder, tmp_path / "tiny.bin")
    assert is_gguf(str(file))
    text, original = read_text_model(str(file)), read_text_model(str(text_folder))
    assert text.config.tie_word_embeddings
    assert text.config.rope_parameters["rope_theta"] == original.config.rope_parameters["rope_theta"]
    assert text.weights.keys() == original.weights.keys()
    assert {weight.dtype for weight in text.weights.values()} == {torch.bfloat16}
    for name, weight in text.weights.items():
        whole = original.weights[name]
        assert torch.dist(weight.float(), whole) < 0.01 * whole.norm() + 1e-6, name
    assert text.tokenizer.get_vocab().items() >= original.tokenizer.get_vocab().items()
    assert text.stop_token_ids == original.stop_token_ids
    for said in ("the digits: 3, 5<|im_end|>", "<|vision_start|><|image_pad|><|vision_end|>Row 2"):
        assert text.tokenizer(said)["input_ids"] == original.tokenizer(said)["input_ids"]


def test_two_different_matrices_of_a_gguf_file_stay_two(tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "text", tied=False)
    text = read_text_model(str(build_gguf(folder, tmp_path / "tiny.gguf")))
    assert not text.config.tie_word_embeddings
    assert "lm_head.weight" in text.weights


def _quantised(folder: Path) -> None:
    written = json.loads((folder / "config.json").read_text())
    written["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(written))


def _without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_quantised, "are quantised; give the checkpoint that they were made of"),
        (_without("config.json"), "cannot be read: "),
        (_without("model.safetensors"), "cannot be read: "),
        (_without("tokenizer.json"), "has no single token for "),
        (
            Qwen3Config().save_pretrained,
            "has the architecture qwen3; graft takes the text models of Qwen2.5 (qwen2)",
        ),
        (
            LlamaConfig().save_pretrained,
            "has the architecture llama; graft takes the text models of Qwen2.5 (qwen2)",
        ),
    ],
    ids=["quantised", "no config", "no weights", "no tokenizer", "qwen3", "llama"],
)
def test_a_folder_that_cannot_be_grafted_is_named_in_one_line(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    folder = build_folder(tmp_path / "text")
    spoil(folder)
    with pytest.raises(SettingsError) as raised:
        read_text_model(str(folder))
    assert message in str(raised.value)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "token", [token for token in SPECIAL_TOKENS if token not in ("<|im_end|>", "<|endoftext|>")]
)
def test_a_tokenizer_without_a_token_of_images_is_refused(tmp_path: Path, token: str) -> None:
    folder = build_folder(tmp_path / "text", missing=[token])
    with pytest.raises(SettingsError) as raised:
        read_text_model(str(folder))
    assert f"has no single token for {token}; Qwen2.5's has them" in str(raised.value)


def test_a_tokenizer_without_a_token_for_each_digit_is_refused(tmp_path: Path) -> None:
    folder = build_folder(tmp_path / "text", word="37")
    with pytest.raises(SettingsError, match="has no single token for 3, 7; "):
        read_text_model(str(folder))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "weights.safetensors",
            b"\0" * 64,
            "is a file: give the folder that holds config.json, or a GGUF file",
        ),
        ("short", b"GG", "is a file: give the folder that holds config.json, or a GGUF file"),
        pytest.param("torn.gguf", b"GGUF" + b"\0" * 60, "cannot be read: ", marks=needs_gguf),
    ],
)
def test_a_file_that_is_no_gguf_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError) as raised:
        read_text_model(str(tmp_path / name))
    assert f"{tmp_path / name} {message}" in str(raised.value)


def test_a_gguf_file_without_the_package_that_reads_it_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_model, "find_spec", lambda name: None)
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    with pytest.raises(SettingsError, match=r"tiny\.gguf needs the package gguf: pip install 'gguf>="):
        read_text_model(str(tmp_path / "tiny.gguf"))


def test_the_package_that_is_named_is_the_one_that_is_tested() -> None:
    """In the message, on the page and in what the tests install."""
    root = Path(__file__).resolve().parents[2]
    dev = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    [requirement] = [line for line in dev if line.startswith("gguf")]
    assert f"pip install '{requirement}'" in (root / "docs/graft.md").read_text()
    assert requirement == text_model.GGUF_PACKAGE
