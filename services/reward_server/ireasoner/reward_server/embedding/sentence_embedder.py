"""Embeddings from any sentence-transformers model, on torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ireasoner.compat import repairs
from ireasoner.reward_server.embedding.embedder import Runtime

HUB_TIMEOUT_S = 10.0


class ModelUnavailable(Exception):
    """There is no model of this name."""


class SentenceEmbedder:
    """A sentence-transformers model, given by its hub id or the path of its folder.

    `device` is a torch device or `auto`. `threads` limits torch's threads; None leaves them to torch. `runtime` sets
    the precision; `auto` is bfloat16 if the device has instructions for it, else float32.
    """

    mixes_lengths = False

    def __init__(self, name: str, model: str, device: str, threads: int | None, runtime: Runtime) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._model = load_model(model, device)
        half = runtime == "torch-bf16" or (runtime == "auto" and _computes_bf16(self._model.device))
        self._precision = "bf16" if half else "fp32"
        self.identity = identity(self._model, self._precision)
        if half:
            self._model.bfloat16()
        self.name = name
        self.tokenize = Tokenizer(self._model)
        self.dimension = len(self.embed(self.tokenize(["warm"]))[0])

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D] for token ids of one length."""
        ids = torch.tensor(batch, device=self._model.device)
        with torch.inference_mode():
            output = self._model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
            rows = torch.nn.functional.normalize(output["sentence_embedding"].float(), dim=1)
        array: NDArray[np.float32] = rows.cpu().numpy()
        return array


def load_model(model: str, device: str) -> Any:
    """A `SentenceTransformer` in evaluation mode."""
    repairs.install()  # transformers imports torchvision
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    loaded = SentenceTransformer(available(model), device=None if device == "auto" else device)
    return loaded.eval()


def available(model: str) -> str:
    """What to load a model from: its folder, the hub, or if that is unreachable what was downloaded before.

    The hub is asked once. Its own clients would try for minutes.

    Raises:
        ModelUnavailable: There is none of these.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if Path(model).is_dir():
        return model
    try:
        HfApi().model_info(model, timeout=HUB_TIMEOUT_S)
    except HFValidationError as error:
        raise ModelUnavailable(f"{model} is neither a folder nor the id of a model on the hub") from error
    except Exception as error:  # noqa: BLE001 - its HTTP library, and so its errors, differ by version
        try:
            return str(snapshot_download(model, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            reason = str(error).strip().split("\n")[0]
            raise ModelUnavailable(
                f"{model} is no folder, was not downloaded before, and the hub does not have it: {reason}"
            ) from error
    return model


class Tokenizer:
    """Turns texts into a `SentenceTransformer`'s token ids; keeps nothing else of the model."""

    def __init__(self, model: Any) -> None:
        self._tokenizer = model.tokenizer.backend_tokenizer
        self._tokenizer.enable_truncation(model.max_seq_length)
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with the model's special tokens, truncated to the model's length."""
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(list(texts))]


def identity(model: Any, precision: str) -> str:
    """A hash of a `SentenceTransformer`'s structure, tokenizer and weights, and of the precision."""
    digest = hashlib.sha256(f"sentence-transformers {precision} {model.max_seq_length}".encode())
    digest.update(repr(model).encode())
    digest.update(model.tokenizer.backend_tokenizer.to_str().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _computes_bf16(device: torch.device) -> bool:
    """Whether `device` has instructions for bfloat16; without them it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
