"""A tiny Qwen2.5 text checkpoint with random weights, as a folder and as a GGUF file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ireasoner.trainer.tiny_model.tokenizer import EOS, PAD, SPECIAL_TOKENS

MERGES = (("Ġ", "t"), ("h", "e"), ("Ġt", "he"))
LAYERS = 2
HIDDEN = 64


def build_folder(folder: Path, *, tied: bool = True, missing: Sequence[str] = (), word: str = "") -> Path:
    """Writes a checkpoint of about 0.1 M parameters; returns `folder`.

    Args:
        folder: Folder to write.
        tied: Whether the head is tied to the embeddings.
        missing: Special tokens that the tokenizer lacks.
        word: Characters that the tokenizer has only as a part of this word.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = build_tokenizer(missing, word)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=300,  # like Qwen2.5's, more than the tokenizer has
        hidden_size=HIDDEN,
        intermediate_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        initializer_range=0.2,
        rope_parameters={"rope_type": "default", "rope_theta": 20_000.0},
        eos_token_id=tokenizer.convert_tokens_to_ids(EOS),
        tie_word_embeddings=tied,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config.update(
        top_k=20, repetition_penalty=1.1, do_sample=True
    )  # as the published ones have
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_tokenizer(missing: Sequence[str] = (), word: str = "") -> Any:
    """Bytes, a word with a blank before it, and Qwen2.5's control tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [letter for letter in sorted(pre_tokenizers.ByteLevel.alphabet()) if letter not in word]
    pieces = [*letters, *("".join(pair) for pair in MERGES), *([word] if word else [])]
    bpe = models.BPE(vocab={piece: index for index, piece in enumerate(pieces)}, merges=list(MERGES))
    backend = Tokenizer(bpe)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[
            token for token in SPECIAL_TOKENS if token not in missing and token not in (EOS, PAD)
        ],
    )


def build_gguf(folder: Path, file: Path) -> Path:
    """Writes a text checkpoint's folder as a GGUF file, with tied embeddings twice, as quantised files have them.

    The copy under the head's name has a fine quantisation (Q8_0), and that of the embeddings a coarse one (Q4_0).
    Without the package gguf, the test is skipped.
    """
    gguf = pytest.importorskip("gguf")
    from gguf.quants import quantize
    from transformers import AutoTokenizer, Qwen2ForCausalLM

    model = Qwen2ForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = model.config
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    _add_tokenizer(writer, tokenizer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        values = weight.float().numpy()
        kind = {
            "token_embd.weight": gguf.GGMLQuantizationType.Q4_0,
            "output.weight": gguf.GGMLQuantizationType.Q8_0,
        }.get(stored)
        if kind is None:
            writer.add_tensor(stored, values)
        else:
            writer.add_tensor(stored, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: Any, tokenizer: Any, vocab_size: int) -> None:
    from gguf import TokenType

    by_id = {index: token for token, index in tokenizer.get_vocab().items()}
    tokens = [by_id.get(index, f"[PAD{index}]") for index in range(vocab_size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [
            TokenType.CONTROL
            if token in SPECIAL_TOKENS
            else TokenType.UNUSED
            if index not in by_id
            else TokenType.NORMAL
            for index, token in enumerate(tokens)
        ]
    )
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
