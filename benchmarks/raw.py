"""What a runtime can do at all: its forward pass alone, and embedding one text at a time."""

import shutil
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from benchmarks.clock import best_s
from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec, Runtime
from ireasoner.reward_server.embedding.load import load_embedder, packaged_minilm

Rows = NDArray[np.float32]
Tokens = list[list[int]]
BATCH_TOKENS = 1_024
"""Of a forward pass alone, which 4,096 make 3% slower."""


def minilm(runtime: Runtime) -> Embedder:
    """all-MiniLM-L6-v2 on one thread."""
    return load_embedder(
        EmbedderSpec(embedder="minilm", token_mean_checkpoint=None, runtime=runtime, device="cpu", threads=1)
    )


def table_of_tokens(folder: Path) -> Path:
    """A checkpoint for `token-mean`: MiniLM's tokenizer of 30,522 tokens and random embeddings of 384 numbers."""
    shutil.copy(Path(packaged_minilm()) / "tokenizer.json", folder)
    table = np.random.default_rng(0).normal(size=(30_522, 384)).astype(np.float32)
    save_file({"model.embed_tokens.weight": table}, folder / "model.safetensors")
    return folder


def batches(tokens: Tokens) -> list[list[int]]:
    """Numbers of texts, in batches of equal length."""
    cut = []
    order = sorted(range(len(tokens)), key=lambda number: len(tokens[number]))
    for length, same in groupby(order, key=lambda number: len(tokens[number])):
        numbers = list(same)
        size = max(1, BATCH_TOKENS // length)
        cut += [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return cut


def forward(embed: Callable[[Tokens], Rows], tokens: Tokens) -> Rows:
    """Every text's row, in order."""
    rows: dict[int, Any] = {}
    for batch in batches(tokens):
        rows.update(zip(batch, embed([tokens[number] for number in batch]), strict=True))
    return np.stack([rows[number] for number in range(len(tokens))])


def forward_per_s(embed: Callable[[Tokens], Rows], tokens: Tokens, tries: int) -> float:
    """Texts a second of the forward pass alone, in batches of equal length."""
    embed(tokens[:1])
    return len(tokens) / best_s(lambda: forward(embed, tokens), tries)


class OneAtATime:
    """`SentenceTransformer.encode(text)`, as the released code does it, on one thread."""

    def __init__(self) -> None:
        import torch

        from ireasoner.reward_server.embedding.sentence_embedder import load_model

        torch.set_num_threads(1)
        self._model = load_model(packaged_minilm(), "cpu")
        self._model.encode("warm")

    def per_s(self, texts: Sequence[str]) -> float:
        """Texts a second."""
        return len(texts) / best_s(lambda: [self._model.encode(text) for text in texts], 1)
