"""What the server needs from an embedder, and the spec of the one to run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Runtime = Literal["auto", "openvino-bf16", "openvino-fp32", "torch-bf16", "torch-fp32"]


class Embedder(Protocol):
    """Turns texts into unit vectors. It is used from one thread and knows nothing of requests or queues."""

    @property
    def name(self) -> str:
        """Its name, for logs and readiness."""

    @property
    def identity(self) -> str:
        """A hash of everything that its vectors depend on: weights, precision, tokenizer, length limit."""

    @property
    def dimension(self) -> int:
        """Length D of its vectors."""

    @property
    def mixes_lengths(self) -> bool:
        """Whether a batch may mix texts of different lengths, at no cost and with bit-identical results."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, truncated to what `embed` accepts; empty if the text has none."""

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D]; a row is zero if its text has no direction.

        Every text has at least one token id, and all have the same number unless `mixes_lengths`.
        """


class EmbedderSpec(BaseModel):
    """Which embedder to run, and how. Fields are the server settings of the same names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str
    token_mean_checkpoint: Path | None
    runtime: Runtime
    device: str
    threads: int | None

    @property
    def needs_a_process(self) -> bool:
        """Whether its code can crash or hang; a table of token embeddings cannot."""
        return self.embedder != "token-mean"

    @property
    def on_openvino(self) -> bool:
        """Whether OpenVINO runs it: if `runtime` says so, and by default for the packaged model on a CPU."""
        if self.runtime != "auto":
            return self.runtime.startswith("openvino")
        return self.embedder == "minilm" and _device(self.device) == "cpu"


def _device(name: str) -> str:
    """The kind of device that torch chooses for `auto`, else `name`."""
    if name != "auto":
        return name
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if accelerator is None else accelerator.type
