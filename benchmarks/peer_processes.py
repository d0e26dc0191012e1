"""Runtimes that are no servers: each embeds on the core of the servers."""

import base64
import importlib.metadata
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from select import select

import numpy as np

from benchmarks.peer import Embeddings, PeerUnavailable
from benchmarks.peer_environment import WORKER, PeerEnvironment
from benchmarks.peer_servers import OFFLINE, ONE_THREAD
from benchmarks.runtimes import forward
from benchmarks.served import SERVER_CORE, on_core
from ireasoner.reward_server.embedding.embedder import Embedder
from ireasoner.reward_server.embedding.load import packaged_minilm

ANSWER_DEADLINE_S = 600.0
BATCH = 32
"""Texts per batch of sentence-transformers, which sorts them by length first: its default."""


class OurEmbeddings:
    """One of our runtimes without the server: from texts to rows.

    Args:
        runtime: Its name.
        embedder: The default embedder in it, on one thread.
    """

    def __init__(self, runtime: str, embedder: Embedder) -> None:
        self.name = f"ours, {runtime}, embeddings alone"
        self.note = ""
        self._embedder = embedder

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One row for each text, in order."""
        with on_core(SERVER_CORE):
            return forward(self._embedder.embed, self._embedder.tokenize(list(texts)))


class SentenceTransformers:
    """`SentenceTransformer.encode` with all texts at once, in float32 on one thread."""

    def __init__(self) -> None:
        import torch

        from ireasoner.reward_server.embedding.sentence_embedder import load_model

        torch.set_num_threads(1)
        self.name = (
            f"sentence-transformers {importlib.metadata.version('sentence-transformers')}, batches of {BATCH}"
        )
        self.note = ""
        self._model = load_model(str(packaged_minilm()), "cpu")

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One row for each text, in order."""
        with on_core(SERVER_CORE):
            rows: Embeddings = self._model.encode(list(texts), batch_size=BATCH, normalize_embeddings=True)
        return rows


class FastEmbed:
    """fastembed in a process of its own environment, on onnxruntime.

    Args:
        process: `onnx_worker.py embed`, which is ready.
        environment: Where it runs.
    """

    def __init__(self, process: subprocess.Popen[str], environment: PeerEnvironment) -> None:
        self.name = f"fastembed {environment.versions['fastembed']}, onnxruntime, float32"
        self.note = environment.note
        self._process = process

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One row for each text, in order.

        Raises:
            PeerUnavailable: The process has ended, or does not answer.
        """
        try:
            print(json.dumps(list(texts)), file=self._process.stdin, flush=True)
            answered = _line(self._process, self.name)
        except BrokenPipeError:
            raise PeerUnavailable(f"{self.name} ended with {self._process.wait()}") from None
        return np.frombuffer(base64.b64decode(answered), np.float32).reshape(len(texts), -1)


@contextmanager
def fastembed(environment: PeerEnvironment) -> Iterator[FastEmbed]:
    """fastembed on our weights.

    Raises:
        PeerUnavailable: It does not start.
    """
    with on_core(SERVER_CORE):
        process = subprocess.Popen(
            [str(environment.python), "-P", str(WORKER), "embed", str(environment.model)],
            env={**os.environ, **ONE_THREAD, **OFFLINE},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        _line(process, "fastembed")
        yield FastEmbed(process, environment)
    finally:
        process.kill()
        with suppress(BrokenPipeError):  # of a line that it did not read
            process.communicate()


def _line(process: subprocess.Popen[str], name: str) -> str:
    """The next line that a process prints.

    Raises:
        PeerUnavailable: It ended, or printed nothing within `ANSWER_DEADLINE_S`.
    """
    assert process.stdout is not None
    if not select([process.stdout], [], [], ANSWER_DEADLINE_S)[0]:
        raise PeerUnavailable(f"{name} did not answer within {ANSWER_DEADLINE_S:g} s")
    if not (line := process.stdout.readline()):
        raise PeerUnavailable(f"{name} ended with {process.wait()}")
    return line
