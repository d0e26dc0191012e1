"""Any sentence-transformers model as OpenVINO runs it, converted by torch at loading time."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from ireasoner.reward_server.embedding.openvino_runtime import Precision, openvino
from ireasoner.reward_server.embedding.sentence_embedder import Tokenizer, identity, load_model

RUNTIMES: dict[Precision, str] = {"bf16": "openvino-bf16", "f32": "openvino-fp32"}


class ConvertedEncoder:
    """A sentence-transformers model, converted from its weights (about 10 s).

    Args:
        model: Its hub id or the path of its folder.
    """

    def __init__(self, model: str) -> None:
        self._model = load_model(model, "cpu")
        self._tokenizer = Tokenizer(self._model)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, truncated to the model's length."""
        return self._tokenizer(texts)

    def identity(self, precision: Precision) -> str:
        """A hash of the model's structure, tokenizer and weights, and of the precision."""
        return identity(self._model, RUNTIMES[precision])

    def graph(self) -> "openvino.Model":
        """The graph from ids [B, L] to unit rows [B, D]."""
        shapes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=self._model.max_seq_length)}
        example = torch.randint(0, 100, (3, 20))
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
            )
            program = torch.export.export(_UnitRows(self._model).eval(), (example,), dynamic_shapes=(shapes,))
            return openvino.convert_model(program)


class _UnitRows(torch.nn.Module):
    """Token ids [B, L] to unit rows [B, D]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        output = self.model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        rows: torch.Tensor = output["sentence_embedding"]
        return torch.nn.functional.normalize(rows, dim=1)
