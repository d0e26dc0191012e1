"""The images in the rows of a dataset that is on this machine."""

from dataclasses import dataclass

from PIL import Image

from ireasoner.trainer.data import Rows
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.images.dataset_image import DatasetImage, content_at, row_name
from ireasoner.trainer.images.image_set import ImageFile, OnProgress, decoded, named
from ireasoner.trainer.images.read_image import decode_image
from ireasoner.trainer.images.row_images import RowImages
from ireasoner.trainer.images.scan_cache import ScanCache
from ireasoner.trainer.shown_path import shown


@dataclass(frozen=True)
class ImageTable(RowImages):
    """The images of a dataset that is on this machine, one per row; a row's name is its index, from 0."""

    @classmethod
    def scan(cls, rows: Rows, column: str, on_progress: OnProgress = lambda *_: None) -> "ImageTable":
        """Decodes the image of each row that no earlier scan of the same rows has decoded.

        Args:
            rows: The rows, whose images are undecoded.
            column: The column of the images.
            on_progress: Called while images are decoded.

        Raises:
            ImagesError: No row has a readable image.
        """
        count = len(rows.data)
        names = {row_name(row): row for row in range(count)}
        stamps = dict(zip(names, rows.stamps(column), strict=True))
        cache = ScanCache(f"{rows.identity.fingerprint} {column}", stamps, values=4)
        known, left_out = cache.read(), {}
        new = [row for name, row in names.items() if name not in known]
        try:
            found = decoded(lambda row: _scanned(rows, column, row), new)
            for done, (row, one) in enumerate(zip(new, found, strict=True), start=1):
                if isinstance(one, str):
                    left_out[row_name(row)] = one
                else:
                    known[row_name(row)] = one
                on_progress(done, len(new))
        finally:  # an interrupted scan continues where it was
            cache.write(known)
        files = tuple(_image_file(name, known[name]) for name in names if name in known)
        if not files:
            raise ImagesError(
                f"images: {shown(rows.identity.address)}, column {column!r}, has no readable image in {count:,} rows"
                f"{named(left_out)}"
            )
        return cls(files, left_out, rows.identity, rows=rows)

    def pixels(self, name: str) -> Image.Image:
        assert self.rows is not None, "only the first process of a run reads images"
        assert self.dataset.column is not None
        row = int(name.rpartition(" ")[2])
        return decode_image(content_at(self.rows, self.dataset.column, row), str(self.path_of(name)))


def _scanned(rows: Rows, column: str, row: int) -> tuple[int | str, ...]:
    image = DatasetImage.of(row_name(row), content_at(rows, column, row))
    return len(image.content), image.width, image.height, image.digest


def _image_file(name: str, found: tuple[int | str, ...]) -> ImageFile:
    size_bytes, width, height, digest = found
    return ImageFile(name, int(size_bytes), int(width), int(height), str(digest))
