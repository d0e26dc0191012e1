"""Which images an update takes: a matter of the seed and the update's number alone.

So the update after this one can be prepared before TRL asks for it, and a run goes on where it was. The order is that
of TRL's `RepeatSampler`: a permutation an epoch, cut into updates, its rest left out.
"""

from collections.abc import Sequence
from pathlib import Path

import torch


class ImageOrder:
    """The order of a run.

    Args:
        paths: All images.
        per_update: How many an update takes; at most all.
        seed: The run's.
        shuffle: Whether they are shuffled at all.
    """

    def __init__(self, paths: Sequence[Path], per_update: int, seed: int, *, shuffle: bool = True) -> None:
        self._paths = paths
        self._per_update = per_update
        self._seed = seed
        self._shuffle = shuffle
        self._epoch = -1
        self._start()

    def at(self, update: int) -> list[Path]:
        """The images of update number `update`, from 0."""
        epoch, place = divmod(update, len(self._paths) // self._per_update)
        if epoch < self._epoch:
            self._start()
        while self._epoch < epoch:
            self._epoch += 1
            if self._shuffle:
                self._order = torch.randperm(len(self._paths), generator=self._generator).tolist()
        first = place * self._per_update
        return [self._paths[number] for number in self._order[first : first + self._per_update]]

    def _start(self) -> None:
        self._generator = torch.Generator().manual_seed(self._seed)
        self._order = list(range(len(self._paths)))
        self._epoch = -1
