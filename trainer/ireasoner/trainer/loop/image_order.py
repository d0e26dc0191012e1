"""The images of each update, which depend on the seed and the update's index alone.

So the next update can be collected early, and a resumed run continues where it was. The order is that of TRL's
`RepeatSampler`: one permutation per epoch, cut into updates, without the rest.
"""

from collections.abc import Sequence
from pathlib import Path

import torch


class ImageOrder:
    """The order of the images in a run.

    Args:
        paths: All images.
        per_update: Images per update; at most all.
        seed: The run's seed.
        shuffle: Whether to shuffle.
    """

    def __init__(self, paths: Sequence[Path], per_update: int, seed: int, *, shuffle: bool = True) -> None:
        self._paths = paths
        self._per_update = per_update
        self._seed = seed
        self._shuffle = shuffle
        self._epoch = -1
        self._start()

    def at(self, update: int) -> list[Path]:
        """The images of update `update` (from 0)."""
        epoch, index = divmod(update, len(self._paths) // self._per_update)
        if epoch < self._epoch:
            self._start()
        while self._epoch < epoch:
            self._epoch += 1
            if self._shuffle:
                self._order = torch.randperm(len(self._paths), generator=self._generator).tolist()
        first = index * self._per_update
        return [self._paths[image] for image in self._order[first : first + self._per_update]]

    def _start(self) -> None:
        self._generator = torch.Generator().manual_seed(self._seed)
        self._order = list(range(len(self._paths)))
        self._epoch = -1
