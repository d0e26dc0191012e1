"""The runtimes of the embedder: the speed of the forward pass alone, and how often a precision changes a ranking."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from benchmarks.comparison import best_s
from benchmarks.workload import Sample
from ireasoner.reward_server.agreement.trajectories import AnswerCluster, judge, vectors_of
from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec, Runtime
from ireasoner.reward_server.embedding.load import load_embedder, packaged_minilm
from ireasoner.reward_server.embedding.openvino_runtime import claims_bf16, openvino
from ireasoner.reward_server.scoring_config import PAPER

Embeddings = NDArray[np.float32]
"""(texts, dimensions)."""
Tokens = list[list[int]]
BATCH_TOKENS = 1_024
"""Tokens per batch of a forward pass alone; 4,096 are 3% slower."""


def minilm(runtime: Runtime) -> Embedder:
    """all-MiniLM-L6-v2 on one thread."""
    return load_embedder(
        EmbedderSpec(embedder="minilm", token_mean_checkpoint=None, runtime=runtime, device="cpu", threads=1)
    )


def computed(runtimes: Sequence[Runtime]) -> dict[Runtime, Embedder]:
    """all-MiniLM-L6-v2 in those of the runtimes whose precision this processor computes in."""
    has_bf16 = claims_bf16(openvino.Core())
    return {each: minilm(each) for each in runtimes if has_bf16 or not each.endswith("bf16")}


def table_of_tokens(folder: Path) -> Path:
    """A checkpoint for `token-mean`: MiniLM's tokenizer of 30,522 tokens and random embeddings of 384 numbers."""
    shutil.copy(packaged_minilm() / "tokenizer.json", folder)
    table = np.random.default_rng(0).normal(size=(30_522, 384)).astype(np.float32)
    save_file({"model.embed_tokens.weight": table}, folder / "model.safetensors")
    return folder


def batches(tokens: Tokens) -> list[list[int]]:
    """Indices of texts, in batches of equal length."""
    cut = []
    order = sorted(range(len(tokens)), key=lambda number: len(tokens[number]))
    for length, same in groupby(order, key=lambda number: len(tokens[number])):
        numbers = list(same)
        size = max(1, BATCH_TOKENS // length)
        cut += [numbers[start : start + size] for start in range(0, len(numbers), size)]
    return cut


def forward(embed: Callable[[Tokens], Embeddings], tokens: Tokens) -> Embeddings:
    """The embedding of each text, in order."""
    by_text: dict[int, Any] = {}
    for batch in batches(tokens):
        by_text.update(zip(batch, embed([tokens[number] for number in batch]), strict=True))
    return np.stack([by_text[number] for number in range(len(tokens))])


def forward_per_s(embed: Callable[[Tokens], Embeddings], tokens: Tokens, tries: int) -> float:
    """Texts per second of the forward pass alone, in batches of equal length."""
    embed(tokens[:1])
    return len(tokens) / best_s(lambda: forward(embed, tokens), tries)


def majority_rewards(
    groups: Sequence[Sequence[Sample]], embeddings: dict[str, Embeddings]
) -> list[list[float]]:
    """Trajectory rewards of the dominant rollouts of each group, from the embeddings of their steps."""
    rewards = []
    for group in groups:
        majority = [sample.steps for sample in group if sample.answer == group[0].answer]
        cluster = AnswerCluster.of(range(len(majority)), majority)
        stacked = np.stack([embeddings[step] for steps in cluster.steps for step in steps])
        vectors = vectors_of(stacked, np.arange(len(stacked)), PAPER)
        rewards.append(judge(cluster, vectors, 1.0, PAPER).rewards.tolist())
    return rewards


def flip_rate(reference: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Share of the pairs of rollouts within a group that `other` ranks differently from `reference`."""
    changed = [
        (first < second) != (other_first < other_second)
        for one, two in zip(reference, other, strict=True)
        for (first, other_first), (second, other_second) in _pairs(one, two)
    ]
    return sum(changed) / len(changed)


def _pairs(
    one: Sequence[float], two: Sequence[float]
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    yield from combinations(zip(one, two, strict=True), 2)


class OneAtATime:
    """`SentenceTransformer.encode(text)` on one thread, as in the released code."""

    def __init__(self) -> None:
        import torch

        from ireasoner.reward_server.embedding.sentence_embedder import load_model

        torch.set_num_threads(1)
        self._model = load_model(str(packaged_minilm()), "cpu")
        self._model.encode("warm")

    def per_s(self, texts: Sequence[str]) -> float:
        """Texts per second."""
        return len(texts) / best_s(lambda: [self._model.encode(text) for text in texts], 1)
