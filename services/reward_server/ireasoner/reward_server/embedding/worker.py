"""The embedding worker: a child process of the server that holds the model and answers frames.

Whatever the model does, crash, hang or run out of memory, it does here; the server lives on and starts
another. The worker ends when its standard input does, and leaves SIGINT and SIGTERM to the server.

    {"op": "load", "settings": {...}}                       -> {"name", "identity", "dimension"}
    {"op": "tokenize", "texts": [...]}                      -> {"lengths": [...]}, int32 token ids
    {"op": "embed", "count": n}, int32 token ids [n, L]     -> {"count": n}, float32 rows [n, D]

Any of them may be answered with {"error": "..."}; the worker then goes on.
"""

import logging
import os
import signal
import sys
from itertools import chain
from typing import BinaryIO

import numpy as np

from ireasoner.reward_server.embedding import frames
from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec
from ireasoner.reward_server.embedding.load import load_embedder

log = logging.getLogger(__name__)


def main() -> int:
    """Serves the frames on standard input until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    frames_in = sys.stdin.buffer
    frames_out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get between frames
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        serve(frames_in, frames_out)
    except BrokenPipeError:
        return 1
    return 0


def serve(frames_in: BinaryIO, frames_out: BinaryIO) -> None:
    """Answers one frame after the other until there are no more."""
    embedder: Embedder | None = None
    while True:
        try:
            header, payload = frames.read(frames_in)
        except EOFError:
            return
        try:
            if header["op"] == "load":
                embedder = load_embedder(EmbedderSpec.model_validate(header["settings"]))
                answer = frames.pack(
                    {"name": embedder.name, "identity": embedder.identity, "dimension": embedder.dimension}
                )
            else:
                assert embedder is not None, "load comes first"
                answer = _answer(embedder, header, payload)
        except Exception as error:  # noqa: BLE001 - told to the server, which tells the callers
            answer = frames.pack({"error": f"{type(error).__name__}: {error}"})
        frames_out.write(answer)
        frames_out.flush()


def _answer(embedder: Embedder, header: frames.Header, payload: bytes) -> bytes:
    if header["op"] == "tokenize":
        tokens = embedder.tokenize(header["texts"])
        ids = np.fromiter(chain.from_iterable(tokens), "<i4")
        return frames.pack({"lengths": [len(each) for each in tokens]}, ids.tobytes())
    batch = np.frombuffer(payload, "<i4").reshape(header["count"], -1)
    rows = embedder.embed(batch.tolist())
    return frames.pack({"count": len(rows)}, np.ascontiguousarray(rows, "<f4").tobytes())


if __name__ == "__main__":
    sys.exit(main())
