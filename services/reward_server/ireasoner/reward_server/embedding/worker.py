"""The embedding worker: a child process of the server that holds the model.

{"op": "load", "spec": {...}}                           -> {"name", "identity", "dimension"}
{"op": "tokenize", "texts": [...]}                      -> {"lengths": [...]}, int32 token ids
{"op": "embed", "count": n}, int32 token ids [n, L]     -> {"count": n}, float32 rows [n, D]
"""

import os
from itertools import chain

import numpy as np

from ireasoner.reward_server import child_process
from ireasoner.reward_server.child_process import Frame, Header
from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec
from ireasoner.reward_server.embedding.load import load_embedder


class Worker:
    """Answers the server's questions with one embedder."""

    def __init__(self) -> None:
        self._embedder: Embedder | None = None

    def __call__(self, header: Header, payload: bytes) -> Frame:
        """The answer to one question; raises what the embedder raises."""
        if header["op"] == "load":
            return self._load(EmbedderSpec.read(header["spec"]))
        assert self._embedder is not None, "load comes first"
        if header["op"] == "tokenize":
            tokens = self._embedder.tokenize(header["texts"])
            ids = np.fromiter(chain.from_iterable(tokens), "<i4")
            return {"lengths": [len(each) for each in tokens]}, ids.tobytes()
        batch = np.frombuffer(payload, "<i4").reshape(header["count"], -1)
        rows = self._embedder.embed(batch.tolist())
        return {"count": len(rows)}, np.ascontiguousarray(rows, "<f4").tobytes()

    def _load(self, spec: EmbedderSpec) -> Frame:
        embedder = self._embedder = load_embedder(spec)
        loaded = {"name": embedder.name, "identity": embedder.identity, "dimension": embedder.dimension}
        return loaded, b""


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    child_process.serve(Worker())
