"""What the server needs of an embedder, and which one it is asked to run."""

from collections.abc import Sequence
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


def _device(name: str) -> str:
    """The kind of device that torch takes for `auto`, else `name`."""
    if name != "auto":
        return name
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if accelerator is None else accelerator.type
