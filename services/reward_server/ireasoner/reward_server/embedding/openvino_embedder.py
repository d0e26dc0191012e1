"""Embeddings on OpenVINO: the fastest runtime on a CPU."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.embedder import Runtime
from ireasoner.reward_server.embedding.openvino_runtime import (
    Precision,
    PrecisionNotComputed,
    claims_bf16,
    compiled_in,
    openvino,
)


class Encoder(Protocol):
    """A sentence encoder that OpenVINO can run."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, truncated to what the graph accepts."""

    def graph(self) -> "openvino.Model":
        """The graph from ids [B, L] of one length to unit rows [B, D]."""

    def identity(self, precision: Precision) -> str:
        """A hash of everything that the rows depend on, if computed in `precision`."""


class OpenVinoEmbedder:
    """A sentence encoder on OpenVINO.

    A text's vector does not depend on the other texts of its batch: bit for bit where that was measured, in both
    precisions and up to 512 texts, and to 1e-6 per component by a test. In float32 it equals torch's to 1e-5.

    Args:
        name: The embedder's name.
        encoder: Its tokenizer and its graph.
        threads: Limits its threads; None leaves them to OpenVINO.
        runtime: `openvino-bf16`, `openvino-fp32`, or `auto` for bfloat16 if the processor computes in it.

    Raises:
        PrecisionNotComputed: `openvino-bf16` on a processor that does not compute in bfloat16.
    """

    mixes_lengths = False

    def __init__(self, name: str, encoder: Encoder, threads: int | None, runtime: Runtime) -> None:
        core = openvino.Core()
        half = runtime == "openvino-bf16" or (runtime == "auto" and claims_bf16(core))
        graph = encoder.graph()
        try:
            compiled = compiled_in("bf16" if half else "f32", core, graph, threads)
        except PrecisionNotComputed:
            if runtime != "auto":
                raise
            half = False
            compiled = compiled_in("f32", core, graph, threads)
        self.name = name
        self.identity = encoder.identity("bf16" if half else "f32")
        self.tokenize = encoder.tokenize
        self._encoder = encoder  # holds the memory of the graph's weights
        self._rows = compiled.output(0)
        self._request = compiled.create_infer_request()
        self.dimension = len(self.embed(self.tokenize(["warm"]))[0])

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D] for token ids of one length."""
        rows: NDArray[np.float32] = self._request.infer({0: np.asarray(batch, np.int64)})[self._rows]
        return rows
