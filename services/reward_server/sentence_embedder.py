"""Embeddings by any sentence-transformers model, on torch."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from compat import torchvision_cpu


class SentenceEmbedder:
    """A sentence-transformers model, by its id on the hub or the path of its folder.

    `device` is torch's name of one, or `auto`; `threads` bounds torch's threads, None leaves them to torch.
    """

    def __init__(self, name: str, model: str, device: str, threads: int | None) -> None:
        torchvision_cpu.install()  # transformers imports torchvision
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        if threads is not None:
            torch.set_num_threads(threads)
        self._model = SentenceTransformer(model, device=None if device == "auto" else device)
        self._model.eval()
        self._tokenizer = self._model.tokenizer
        self.name = name
        self.identity = self._hash()
        self.dimension = len(self.embed(self.tokenize(["warm"]))[0])

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with the model's special tokens, cut to the model's length."""
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self._model.max_seq_length, padding=False
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D] of token ids of one length."""
        ids = torch.tensor(batch, device=self._model.device)
        with torch.inference_mode():
            output = self._model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
            rows = torch.nn.functional.normalize(output["sentence_embedding"].float(), dim=1)
        array: NDArray[np.float32] = rows.cpu().numpy()
        return array

    def _hash(self) -> str:
        digest = hashlib.sha256(f"sentence-transformers {self._model.max_seq_length}".encode())
        digest.update(repr(self._model).encode())
        digest.update(self._tokenizer.backend_tokenizer.to_str().encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()
