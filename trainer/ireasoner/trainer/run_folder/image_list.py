"""`images.json`: the images that a run uses, so that a resumed run has the same ones in the same order."""

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ireasoner.trainer.data import Identity
from ireasoner.trainer.errors import ImagesError, RunFolderError
from ireasoner.trainer.images import ImageSet, ImageStream
from ireasoner.trainer.whole_file import write_whole

IMAGE_LIST = "images.json"
_NAMED_AT_MOST = 10


class ImageList(BaseModel):
    """The images of a run.

    Attributes:
        digest: SHA-256 of `images`, in hexadecimal.
        images: Size in bytes of each image, in their order, by its name relative to the folder, or by its row in a
            dataset; empty for a stream.
        left_out: Why each other image is not used, by name; of a stream, those of the first window.
        contents: Start of the SHA-256 of the bytes in each row of a dataset, by name; empty for files and for a stream.
        dataset: The dataset that the images come from; None for files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    images: dict[str, int]
    left_out: dict[str, str]
    contents: dict[str, str] = {}
    dataset: Identity | None = None

    @classmethod
    def of(cls, images: ImageSet) -> "ImageList":
        """The list of the usable images."""
        files = () if isinstance(images, ImageStream) else images.files
        sizes = {file.name: file.size_bytes for file in files}
        return cls(
            digest=hashlib.sha256(json.dumps(sizes).encode()).hexdigest(),
            images=sizes,
            left_out=dict(images.left_out),
            contents={file.name: file.digest for file in files if file.digest},
            dataset=images.identity,
        )

    def changes(self, now: "ImageList") -> list[str]:
        """What was added, removed or replaced since this list was made: one line per kind, none if nothing was."""
        before, after = self.images, now.images
        replaced = [
            name
            for name in before
            if name in after
            and (before[name] != after[name] or self.contents.get(name) != now.contents.get(name))
        ]
        if not before and not after and self.dataset is not None and now.dataset is not None:
            return self.dataset.changes(now.dataset)
        kinds = {
            "added": [name for name in after if name not in before],
            "removed": [
                f"{name} ({now.left_out[name]})" if name in now.left_out else name
                for name in before
                if name not in after
            ],
            "replaced": [f"{name} ({before[name]:,} -> {after[name]:,} bytes)" for name in replaced],
        }
        return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


def image_changes(run_folder: Path, images: ImageSet, *, accept_changed: bool) -> list[str]:
    """Compares the images of a resumed run with those of its earlier start; writes nothing.

    Args:
        run_folder: The run folder.
        images: The usable images.
        accept_changed: Whether the images may differ from those of the earlier start.

    Returns:
        The differences, one line per kind.

    Raises:
        ImagesError: The images differ, and `accept_changed` is false.
        RunFolderError: The written list is broken.
    """
    before = read_image_list(run_folder / IMAGE_LIST)
    changes = [] if before is None else before.changes(ImageList.of(images))
    if changes and not accept_changed:
        raise ImagesError(
            f"resume: the usable images in {images.address} are not those that the run started with:\n  "
            + "\n  ".join(changes)
            + "\nRestore them, or add --accept-changed-images: finished updates stay, and the run goes on with the "
            "images as they are now, in another order"
        )
    return changes


def write_image_list(run_folder: Path, images: ImageSet) -> None:
    """Writes the list of a run's images."""
    write_whole(run_folder / IMAGE_LIST, ImageList.of(images).model_dump_json(indent=1) + "\n")


def read_image_list(path: Path) -> ImageList | None:
    """The list in a file; None if there is no file.

    Raises:
        RunFolderError: The file is not such a list.
    """
    try:
        return ImageList.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise RunFolderError(f"{path}: not a list of images: {error}") from error


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
