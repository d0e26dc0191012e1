"""scikit-learn's handwritten digits, split into three parts that share no image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Part = Literal["warm-start", "unlabelled", "held-out"]
PARTS: dict[Part, float] = {"warm-start": 0.6, "unlabelled": 0.2, "held-out": 0.2}
"""The parts, with their shares of every digit class."""

_SPLIT_SEED = 20260105
_INK_LEVELS = 16


@dataclass(frozen=True)
class Digits:
    """n digits: `index` (n,) in scikit-learn's order, `ink` (n, 8, 8) uint8 in 0..16, `label` (n,)."""

    index: npt.NDArray[np.int64]
    ink: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)


def load_digits_part(part: Part) -> Digits:
    """One part of the 1,797 digits; the split is fixed, by image, and stratified by class.

    The images are the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI
    Machine Learning Repository, 1998), as scikit-learn ships it.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    ink = np.rint(bunch.images).astype(np.uint8)
    assert ink.max() == _INK_LEVELS
    label = bunch.target.astype(np.int64)
    chosen = np.sort(_split(label)[part])
    return Digits(index=chosen, ink=ink[chosen], label=label[chosen])


def _split(label: npt.NDArray[np.int64]) -> dict[Part, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(_SPLIT_SEED)
    members: dict[Part, list[npt.NDArray[np.int64]]] = {part: [] for part in PARTS}
    for digit in range(10):
        shuffled = rng.permutation(np.flatnonzero(label == digit))
        ends = np.rint(np.cumsum(list(PARTS.values())) * len(shuffled)).astype(int)
        for part, piece in zip(PARTS, np.split(shuffled, ends[:-1]), strict=True):
            members[part].append(piece)
    return {part: np.concatenate(pieces) for part, pieces in members.items()}
