"""What else embeds texts, as the benchmark sees it."""

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]
"""(texts, dimensions), of length one."""

_ERROR = re.compile(r"\b[A-Z]\w*(Error|Exception): ")


class Peer(Protocol):
    """Another program or runtime with the weights of our default embedder, on one core."""

    @property
    def name(self) -> str:
        """Its name, version and settings."""

    @property
    def note(self) -> str:
        """What else there is to know."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """One row for each text, in order, as fast as it can."""


class PeerUnavailable(Exception):
    """A peer cannot be measured here, and why."""


def reason(log: str) -> str:
    """The first error that a log names, else its last line, in at most 200 characters."""
    said = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in said if _ERROR.search(line)]
    return (errors[:1] or said[-1:] or ["it printed nothing"])[0][:200]
