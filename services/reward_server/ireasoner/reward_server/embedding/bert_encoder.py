"""A BERT sentence encoder from its checkpoint: tokenizer, weights and graph, without torch or transformers."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ireasoner.reward_server.embedding.bert_graph import GRAPH_VERSION, BertShape, bert_graph
from ireasoner.reward_server.embedding.openvino_runtime import Precision, openvino
from ireasoner.reward_server.embedding.safetensors_file import find_tensor

IDENTIFYING = ("config.json", "sentence_bert_config.json", "tokenizer.json", "model.safetensors")
"""The files that its vectors depend on."""
NOT_WEIGHTS = "embeddings.position_ids"


class BertEncoder:
    """A checkpoint of transformers' `BertModel` with mean pooling, as sentence-transformers saves it.

    Weights stay in their file, which is mapped into memory.

    Args:
        folder: The checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._shape = BertShape.of(json.loads((folder / "config.json").read_text()))
        self._tensors: dict[str, NDArray[np.float32]] = {
            tensor.name: tensor.data for tensor in find_tensor(folder, lambda name: name != NOT_WEIGHTS)
        }
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        limits = json.loads((folder / "sentence_bert_config.json").read_text())
        self._tokenizer.enable_truncation(limits["max_seq_length"])
        self._tokenizer.no_padding()
        self._digest = _digest(folder)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with the model's special tokens, truncated to the model's length."""
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(list(texts))]

    def graph(self) -> "openvino.Model":
        """The graph from ids [B, L] of one length to unit rows [B, D]."""
        return bert_graph(self._shape, self._tensors)

    def identity(self, precision: Precision) -> str:
        """A hash of the checkpoint, of the graph's version and of the precision."""
        return hashlib.sha256(
            f"bert {GRAPH_VERSION} openvino {precision} {self._digest}".encode()
        ).hexdigest()


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in IDENTIFYING:
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
