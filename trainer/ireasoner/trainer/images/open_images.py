"""Opens the images of a run, whatever they come in."""

from pathlib import Path

from ireasoner.trainer.data import Kind, Rows, kind_of, open_rows, refuse_unused
from ireasoner.trainer.data.address import data_files
from ireasoner.trainer.data.archive import CONTENT
from ireasoner.trainer.data.image_column import Holds, image_column, undecoded
from ireasoner.trainer.errors import ImagesError, SettingsError
from ireasoner.trainer.images.folder_walk import first_image, suffixes
from ireasoner.trainer.images.image_folder import ImageFolder
from ireasoner.trainer.images.image_set import ImageSet, OnProgress
from ireasoner.trainer.images.image_stream import ImageStream
from ireasoner.trainer.images.image_table import ImageTable
from ireasoner.trainer.images.listed_files import ListedFiles
from ireasoner.trainer.settings import ImageDataSettings
from ireasoner.trainer.shown_path import shown

_SETTING = "images"
_HOLDS_IMAGES = (".parquet", ".arrow")
"""Files whose rows may hold images; other tables beside image files describe these."""
_DESCRIBES_IMAGES = "metadata.parquet"


def check_images_address(address: Path, data: ImageDataSettings) -> Kind:
    """What `address` is, before anything of it is read.

    Raises:
        ImagesError: It is nothing that images can be read from, or both a folder of images and a dataset.
        SettingsError: A setting of `data` means nothing for it.
    """
    kind = kind_of(_SETTING, address)
    if kind is Kind.DATASET:
        kind = _without_images(address)
    refuse_unused(_SETTING, address, kind, data)
    return kind


def open_images(
    address: Path, data: ImageDataSettings, on_progress: OnProgress = lambda *_: None
) -> ImageSet:
    """The readable images of a folder, a dataset, a table or an archive; new ones are decoded once.

    Raises:
        ImagesError: They cannot be read, or none is readable.
        SettingsError: A setting of `data` means nothing for `address`.
    """
    kind = check_images_address(address, data)
    if kind is Kind.FOLDER:
        return ImageFolder.scan(address, on_progress)
    rows = open_rows(_SETTING, address, kind, data, suffixes=sorted(suffixes()))
    if kind is Kind.ARCHIVE:
        column, holds = CONTENT, Holds.BYTES
    else:
        column, holds = image_column(
            "data.column",
            address,
            rows.features,
            data.column,
            rows.first,
            suffixes(),
        )
    if holds is Holds.PATHS:
        return _listed(address, kind, rows, column, data, on_progress)
    cast = rows.select([column]).cast(column, undecoded(column, holds))
    if data.streaming:
        return ImageStream.open(cast, data.shuffle_buffer)
    return ImageTable.scan(cast, column, on_progress)


def _listed(
    address: Path, kind: Kind, rows: Rows, column: str, data: ImageDataSettings, on_progress: OnProgress
) -> ImageFolder:
    """The image files that a column of paths names.

    Raises:
        ImagesError: Paths mean nothing in this kind of dataset, or none is readable.
        SettingsError: They are streamed.
    """
    if kind is not Kind.TABLE:
        raise ImagesError(
            f"data.column: {shown(address)}, column {column!r}, holds paths, which only a file of rows can have: give "
            "the file"
        )
    if data.streaming:
        raise SettingsError(
            f"data.streaming: {shown(address)} lists image files, which are read as they are used"
        )
    listed = ListedFiles(address.parent, rows.values(column))
    return ImageFolder.of(listed, address.parent, address, on_progress)


def _without_images(folder: Path) -> Kind:
    """What a folder of data files is: those beside image files may only describe them.

    Raises:
        ImagesError: Images may be in files and in rows.
    """
    image = first_image(folder)
    if image is None:
        return Kind.DATASET
    rows = [
        file
        for file in data_files(folder)
        if file.suffix.lower() in _HOLDS_IMAGES and file.name != _DESCRIBES_IMAGES
    ]
    if rows:
        raise ImagesError(
            f"images: {shown(folder)} holds both image files ({shown(image.relative_to(folder))}) and rows that may "
            f"hold images ({shown(rows[0].relative_to(folder))}): give the folder or the file to use"
        )
    return Kind.FOLDER
