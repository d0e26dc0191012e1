"""What the server needs from an embedder, and the spec of the one to run."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Runtime = Literal["auto", "openvino-bf16", "openvino-fp32", "torch-bf16", "torch-fp32"]
DEVICES = Path("/dev")
COMPUTES = ("nvidia[0-9]*", "kfd", "hl[0-9]*", "davinci[0-9]*")
"""Device files of what is there to compute: NVIDIA's and AMD's GPUs, Gaudi and Ascend."""
ACCELERATORS = (*COMPUTES, "accel/accel[0-9]*", "dxg", "dri/renderD*")
"""And of what may be: Gaudi with newer drivers, any GPU under WSL, and Intel's, whether they compute or draw."""


class Embedder(Protocol):
    """Turns texts into unit vectors. It is used from one thread and knows nothing of requests or queues."""

    @property
    def name(self) -> str:
        """Its name, for logs and readiness."""

    @property
    def identity(self) -> str:
        """A hash of everything that its vectors depend on: weights, precision, tokenizer, length limit."""

    @property
    def dimension(self) -> int:
        """Length D of its vectors."""

    @property
    def mixes_lengths(self) -> bool:
        """Whether a batch may mix texts of different lengths, at no cost and with bit-identical results."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, truncated to what `embed` accepts; empty if the text has none."""

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D]; a row is zero if its text has no direction.

        Every text has at least one token id, and all have the same number unless `mixes_lengths`.
        """


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """Which embedder to run, and how. Fields are the server settings of the same names."""

    embedder: str
    token_mean_checkpoint: Path | None
    runtime: Runtime
    device: str
    threads: int | None

    @classmethod
    def of(cls, settings: object) -> "EmbedderSpec":
        """The embedder that an object with these fields asks for."""
        return cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})

    @classmethod
    def read(cls, written: dict[str, Any]) -> "EmbedderSpec":
        """What `written` returned, from JSON."""
        checkpoint = written["token_mean_checkpoint"]
        return cls(**{**written, "token_mean_checkpoint": None if checkpoint is None else Path(checkpoint)})

    def written(self) -> dict[str, Any]:
        """The fields for JSON."""
        checkpoint = self.token_mean_checkpoint
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "token_mean_checkpoint": None if checkpoint is None else str(checkpoint)}

    @property
    def needs_a_process(self) -> bool:
        """Whether its code can crash or hang; a table of token embeddings cannot."""
        return self.embedder != "token-mean"

    @property
    def on_openvino(self) -> bool:
        """Whether OpenVINO runs it: if `runtime` says so, and by default for the packaged model on a CPU."""
        if self.runtime != "auto":
            return self.runtime.startswith("openvino")
        return self.embedder == "minilm" and _device(self.device) == "cpu"

    @property
    def unused_accelerator(self) -> Path | None:
        """The device file of an accelerator that it would run on if torch were installed; None if there is none."""
        is_free = self.embedder == "minilm" and self.runtime == "auto" and self.device == "auto"
        return next(_device_files(COMPUTES), None) if is_free and not _has_torch() else None


def _device(name: str) -> str:
    """The kind of device that torch chooses for `auto`, else `name`.

    Torch takes seconds to import. So it is asked only if it could run the embedder, and if the machine shows an
    accelerator.
    """
    if name != "auto":
        return name
    if not _has_torch() or not _shows_an_accelerator():
        return "cpu"
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return "cpu" if accelerator is None else accelerator.type


def _shows_an_accelerator() -> bool:
    """Whether there may be one: always, except on a Linux without a device file of one."""
    return sys.platform != "linux" or any(_device_files(ACCELERATORS))


def _device_files(names: Iterable[str]) -> Iterator[Path]:
    return (file for name in names for file in DEVICES.glob(name))


def _has_torch() -> bool:
    """Whether the extra that brings torch is installed."""
    return find_spec("sentence_transformers") is not None
