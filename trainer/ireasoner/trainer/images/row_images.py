"""What images in the rows of a dataset have in common, whether it is on this machine or streamed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ireasoner.trainer.data import Identity, Rows
from ireasoner.trainer.images.image_set import ImageSet


@dataclass(frozen=True)
class RowImages(ImageSet):
    """Images in the rows of a dataset.

    Attributes:
        dataset: What the dataset is; its address is a path or a hub id.
        rows: The rows; None in the processes of a run that do not read images.
    """

    dataset: Identity
    rows: Rows | None = field(default=None, compare=False, repr=False, kw_only=True)

    def __getstate__(self) -> Mapping[str, Any]:
        """Leaves out what only the first process of a run has."""
        own = {each.name: each.default for each in fields(self) if not each.compare}
        return {**self.__dict__, **own}

    @property
    def address(self) -> Path:
        return Path(self.dataset.address)

    @property
    def identity(self) -> Identity:
        return self.dataset

    def path_of(self, name: str) -> Path:
        return self.address / name
