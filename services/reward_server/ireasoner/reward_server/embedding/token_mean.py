"""The paper's own embedding: the mean of a policy's input token embeddings."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ireasoner.reward_server.embedding.safetensors_file import StoredTensor, find_tensor

MAX_TOKENS = 64
INPUT_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")
"""Name endings of the input embedding: Qwen, Llama and most others; GPT-2; BLOOM and Falcon."""


class UnusableCheckpoint(Exception):
    """The folder is not a checkpoint with a readable input embedding."""


class TokenMean:
    """The unit mean of the input embeddings of a text's first 64 tokens, without special tokens.

    Reads one tensor and the tokenizer of a checkpoint, and needs neither torch nor transformers. Adapters do not
    change that tensor, so the vectors remain the policy's own for a whole run.
    """

    name = "token-mean"
    mixes_lengths = True

    def __init__(self, checkpoint: Path) -> None:
        tokenizer_file = checkpoint / "tokenizer.json"
        if not tokenizer_file.is_file():
            raise UnusableCheckpoint(f"{tokenizer_file} is missing")
        self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._table = _input_embedding(checkpoint)
        rows, self.dimension = self._table.shape
        largest = max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        if largest >= rows:
            raise UnusableCheckpoint(
                f"{checkpoint}: the tokenizer has a token {largest}, but the input embedding has only {rows} rows"
            )
        self.identity = self._hash(tokenizer_file)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, at most 64."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D] for token ids; zero where the tokens cancel out."""
        means = np.empty((len(batch), self.dimension))
        lengths = np.array([len(ids) for ids in batch])
        for length in np.unique(lengths):
            same = np.flatnonzero(lengths == length)
            ids = np.array([batch[index] for index in same])
            means[same] = self._table.rows(ids).mean(axis=1, dtype=np.float64)
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.divide(means, norms, out=np.zeros_like(means), where=norms > 0).astype(
            np.float32
        )
        return unit

    def _hash(self, tokenizer_file: Path) -> str:
        digest = hashlib.sha256(f"token-mean {MAX_TOKENS}".encode())
        digest.update(tokenizer_file.read_bytes())
        digest.update(self._table.bytes())
        return digest.hexdigest()


def _input_embedding(checkpoint: Path) -> StoredTensor:
    found = find_tensor(checkpoint, lambda name: name.endswith(INPUT_EMBEDDINGS))
    if len(found) != 1:
        raise UnusableCheckpoint(
            f"{checkpoint}: its safetensors files must contain exactly one tensor named "
            f"*{', *'.join(INPUT_EMBEDDINGS)}; found {sorted(tensor.name for tensor in found) or 'none'}"
        )
    if len(found[0].shape) != 2:
        raise UnusableCheckpoint(f"{checkpoint}: {found[0].name} has shape {found[0].shape}")
    return found[0]
