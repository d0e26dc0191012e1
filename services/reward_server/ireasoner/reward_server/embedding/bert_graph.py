"""BERT with mean pooling (Devlin et al., 2018; Reimers and Gurevych, 2019) in OpenVINO's own operators."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.openvino_runtime import openvino

GRAPH_VERSION = "1"
"""Changes with the operators below, because they decide the last bits of a vector."""
SMALLEST_NORM = 1e-12
"""A shorter vector is not brought to length one; torch's own bound."""

Tensors = Mapping[str, NDArray[np.float32]]
Node = Any
"""An operator of a graph; OpenVINO's operators have no types."""
ops = openvino.opset15


@dataclass(frozen=True, slots=True)
class BertShape:
    """What a checkpoint's `config.json` says of its layers."""

    layers: int
    heads: int
    layer_norm_eps: float

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "BertShape":
        """The shape of a parsed `config.json`."""
        return cls(config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])


def bert_graph(shape: BertShape, tensors: Tensors) -> "openvino.Model":
    """A graph from token ids [B, L], all of which count, to unit rows [B, D].

    The graph refers to the memory of `tensors`, which has to outlive it. Names are those of a checkpoint of
    transformers' `BertModel`.
    """
    ids = ops.parameter([-1, -1], np.int64, "ids")
    graph = _Graph(shape, tensors)
    hidden = graph.embed(ids)
    for layer in range(shape.layers):
        hidden = graph.transform(hidden, f"encoder.layer.{layer}")
    mean = ops.reduce_mean(hidden, [1], keep_dims=False)
    norm = ops.reduce_l2(mean, [1], keep_dims=True)
    rows = ops.divide(mean, ops.maximum(norm, np.float32(SMALLEST_NORM)))
    return openvino.Model([ops.result(rows)], [ids], "bert")


class _Graph:
    """Builds the parts of the graph; hidden states are [B, L, D]."""

    def __init__(self, shape: BertShape, tensors: Tensors) -> None:
        self._shape = shape
        self._tensors = tensors

    def embed(self, ids: Node) -> Node:
        """The hidden states below the first layer: of tokens, of their indices, and of the first segment."""
        words = ops.gather(self._constant("embeddings.word_embeddings.weight"), ids, np.int64(0))
        length = ops.gather(ops.shape_of(ids), np.array([1]), np.int64(0))
        table = self._constant("embeddings.position_embeddings.weight")
        positions = ops.slice(table, np.array([0]), length, np.array([1]), np.array([0]))
        segment = self._tensors["embeddings.token_type_embeddings.weight"][0].copy()
        return self._normalised(ops.add(ops.add(words, segment), positions), "embeddings.LayerNorm")

    def transform(self, hidden: Node, layer: str) -> Node:
        """The hidden states above a layer."""
        attended = self._linear(
            self._attend(hidden, f"{layer}.attention.self"), f"{layer}.attention.output.dense"
        )
        hidden = self._normalised(ops.add(attended, hidden), f"{layer}.attention.output.LayerNorm")
        inner = ops.gelu(self._linear(hidden, f"{layer}.intermediate.dense"), "erf")
        outer = self._linear(inner, f"{layer}.output.dense")
        return self._normalised(ops.add(outer, hidden), f"{layer}.output.LayerNorm")

    def _attend(self, hidden: Node, name: str) -> Node:
        query, key, value = (
            self._heads(self._linear(hidden, f"{name}.{each}")) for each in ("query", "key", "value")
        )
        attended = ops.scaled_dot_product_attention(query, key, value)
        return ops.reshape(ops.transpose(attended, [0, 2, 1, 3]), [0, 0, -1], special_zero=True)

    def _heads(self, hidden: Node) -> Node:
        """[B, L, D] to [B, heads, L, D / heads]."""
        parts = ops.reshape(hidden, [0, 0, self._shape.heads, -1], special_zero=True)
        return ops.transpose(parts, [0, 2, 1, 3])

    def _linear(self, hidden: Node, name: str) -> Node:
        product = ops.matmul(hidden, self._constant(f"{name}.weight"), transpose_a=False, transpose_b=True)
        return ops.add(product, self._constant(f"{name}.bias"))

    def _normalised(self, hidden: Node, name: str) -> Node:
        eps = self._shape.layer_norm_eps
        normal = ops.mvn(hidden, [-1], normalize_variance=True, eps=eps, eps_mode="INSIDE_SQRT")
        return ops.add(ops.multiply(normal, self._constant(f"{name}.weight")), self._constant(f"{name}.bias"))

    def _constant(self, name: str) -> Node:
        return openvino.op.Constant(self._tensors[name], shared_memory=True)
