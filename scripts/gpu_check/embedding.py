"""One part of the check, in a process of its own: the embedder on the GPU and on the CPU.

`python -m scripts.gpu_check.embedding JOB`, with a job as JSON; the last line that it prints is the result.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from ireasoner.reward_server.embedding.load import ModelNotPackaged, packaged_minilm
from ireasoner.reward_server.embedding.sentence_embedder import SentenceEmbedder

_TOKENS = (8, 16, 24, 32, 48)
"""Lengths of the batches, which are those of steps."""


class Job(BaseModel):
    """What the part embeds.

    Attributes:
        devices: The first one is compared with the others.
        batch: Steps in a batch.
        seconds: How long each speed is measured.
        model: Folder of a sentence-transformers model; without one, the packaged MiniLM, or its shape with random
            weights where that package is missing.
    """

    devices: tuple[str, ...]
    batch: int = 256
    seconds: float = 5.0
    model: Path | None = None


def measure(job: Job) -> dict[str, Any]:
    """Compares the vectors of each device with those of the first, in float32, and measures steps per second."""
    with tempfile.TemporaryDirectory() as made:
        model, weights = _model(job, Path(made))
        generator = np.random.default_rng(0)
        batches = [generator.integers(1000, 20_000, (job.batch, tokens)).tolist() for tokens in _TOKENS]
        exact = {
            device: SentenceEmbedder("check", model, device, None, "torch-fp32") for device in job.devices
        }
        rows = {
            device: np.concatenate([embedder.embed(batch) for batch in batches])
            for device, embedder in exact.items()
        }
        half = SentenceEmbedder("check", model, job.devices[-1], None, "torch-bf16")
        first = rows[job.devices[0]]
        return {
            "weights": weights,
            "largest_difference": {device: float(abs(each - first).max()) for device, each in rows.items()},
            "steps_per_s": {
                **{f"{device} float32": _speed(each, batches, job.seconds) for device, each in exact.items()},
                f"{job.devices[-1]} bfloat16": _speed(half, batches, job.seconds),
            },
        }


def _model(job: Job, made: Path) -> tuple[str, str]:
    if job.model is not None:
        return str(job.model), job.model.name
    try:
        return str(packaged_minilm()), "all-MiniLM-L6-v2"
    except ModelNotPackaged:
        return _random_minilm(made), "all-MiniLM-L6-v2's shape, random"


def _random_minilm(folder: Path) -> str:
    """A model of MiniLM's shape with random weights, written to a folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    words = {f"<{index}>": index for index in range(30_522)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<1>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<1>", pad_token="<0>").save_pretrained(
        folder / "bert"
    )
    shape = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    BertModel(shape).save_pretrained(folder / "bert")
    bert = Transformer(str(folder / "bert"), max_seq_length=256)
    SentenceTransformer(modules=[bert, Pooling(384)], device="cpu").save(str(folder / "whole"))
    return str(folder / "whole")


def _speed(embedder: SentenceEmbedder, batches: list[list[list[int]]], seconds: float) -> float:
    """Steps per second, over at least `seconds` after one round that warms up."""
    for batch in batches:
        embedder.embed(batch)
    steps, started_s = 0, time.perf_counter()
    while time.perf_counter() - started_s < seconds:
        for batch in batches:
            steps += len(embedder.embed(batch))
    return steps / (time.perf_counter() - started_s)


if __name__ == "__main__":
    print(json.dumps(measure(Job.model_validate_json(sys.argv[1]))))
