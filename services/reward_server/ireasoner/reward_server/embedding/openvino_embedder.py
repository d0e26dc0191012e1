"""Embeddings from any sentence-transformers model, on OpenVINO: the fastest runtime on a CPU."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.embedder import Runtime
from ireasoner.reward_server.embedding.sentence_embedder import Tokenizer, identity, load_model

# OpenVINO sends usage reports if it can import this package; this line makes the import fail.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402 - after the line above


class PrecisionNotComputed(Exception):
    """The processor would not compute in the requested precision."""


class OpenVinoEmbedder:
    """A sentence-transformers model, converted from its weights at loading time (about 10 s).

    A text's vector does not depend on the other texts of its batch: bit for bit where that was measured, in both
    precisions and up to 512 texts, and to 1e-6 per component by a test. In float32 it equals torch's to 1e-5.

    Args:
        name: The embedder's name.
        model: Its hub id or the path of its folder.
        threads: Limits its threads; None leaves them to OpenVINO.
        runtime: `openvino-bf16`, `openvino-fp32`, or `auto` for bfloat16 if the processor computes in it.

    Raises:
        PrecisionNotComputed: `openvino-bf16` on a processor that does not compute in bfloat16.
    """

    mixes_lengths = False

    def __init__(self, name: str, model: str, threads: int | None, runtime: Runtime) -> None:
        core = openvino.Core()
        loaded = load_model(model, "cpu")
        converted = _converted(loaded)
        half = runtime == "openvino-bf16" or (runtime == "auto" and _claims_bf16(core))
        try:
            compiled = compiled_in("bf16" if half else "f32", core, converted, threads)
        except PrecisionNotComputed:
            if runtime != "auto":
                raise
            half = False
            compiled = compiled_in("f32", core, converted, threads)
        self.name = name
        self.identity = identity(loaded, "openvino-bf16" if half else "openvino-fp32")
        self.tokenize = Tokenizer(loaded)
        self._rows = compiled.output(0)
        self._request = compiled.create_infer_request()
        self.dimension = len(self.embed(self.tokenize(["warm"]))[0])

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D] for token ids of one length."""
        rows: NDArray[np.float32] = self._request.infer({0: np.asarray(batch, np.int64)})[self._rows]
        return rows


def compiled_in(
    precision: str, core: "openvino.Core", model: "openvino.Model", threads: int | None
) -> "openvino.CompiledModel":
    """A model that computes in `precision`, which is a name of OpenVINO's.

    Raises PrecisionNotComputed if OpenVINO chose another precision, which it does silently.
    """
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    bounds = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(model, "CPU", hints | bounds)
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != precision:
        raise PrecisionNotComputed(f"this processor computes in {taken}, not in {precision}")
    return compiled


def _claims_bf16(core: "openvino.Core") -> bool:
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _UnitRows(torch.nn.Module):
    """Token ids [B, L] to unit rows [B, D]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        output = self.model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        rows: torch.Tensor = output["sentence_embedding"]
        return torch.nn.functional.normalize(rows, dim=1)


def _converted(model: Any) -> "openvino.Model":
    """A `SentenceTransformer` as a graph from ids [B, L] to unit rows [B, D]."""
    shapes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=model.max_seq_length)}
    example = torch.randint(0, 100, (3, 20))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        program = torch.export.export(_UnitRows(model).eval(), (example,), dynamic_shapes=(shapes,))
        return openvino.convert_model(program)
