"""Images as they are served: decoded and written anew, so that a browser gets pixels and nothing else of the file."""

import io
from pathlib import Path

from PIL import ImageOps

from ireasoner.reward_server.errors import NoSuchRecord
from ireasoner.reward_server.ledger import images
from ireasoner.reward_server.ledger.ledgers import Ledgers, Viewer, no_such

MEDIA_TYPE = "image/webp"
LONGEST_SIDE = 2_048
"""Pixels of the longer side, to which larger images are scaled down."""
QUALITY = 90


def image_file(ledgers: Ledgers, viewer: Viewer, sha256: str) -> Path:
    """The file of an image that the viewer may see; raises NoSuchRecord if there is none."""
    for ledger in ledgers:
        with ledger.reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM images WHERE sha256 = ?1 AND (?2 IS NULL OR experiment = ?2) LIMIT 1",
                (sha256, viewer.experiment),
            ).fetchone()
        if found is not None:
            return images.image_file(ledger.folder, sha256)
    raise no_such(sha256)


def kept(ledgers: Ledgers, viewer: Viewer, sha256: str) -> tuple[bytes, int]:
    """The bytes of an image as they were put, and the memory that decoding it takes; raises NoSuchRecord.

    It is raised if the viewer may not see the image, and if its file is missing or is no image.
    """
    try:
        data = image_file(ledgers, viewer, sha256).read_bytes()
        return data, images.PIXEL_BYTES * images.pixels(data)
    except FileNotFoundError:
        raise no_such(f"{sha256}: the image's file is missing") from None
    except (images.NotAnImage, OSError) as error:
        raise _damaged(sha256, error) from None


def written_anew(sha256: str, data: bytes) -> bytes:
    """The image as WebP; raises NoSuchRecord if it cannot be decoded."""
    try:
        with images.opened(data) as image:
            upright = ImageOps.exif_transpose(image)
            has_alpha = "A" in upright.getbands() or "transparency" in image.info
            shown = upright.convert("RGBA" if has_alpha else "RGB")
            shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            encoded = io.BytesIO()
            shown.save(encoded, "WEBP", quality=QUALITY)
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises on a damaged file
        raise _damaged(sha256, error) from None
    return encoded.getvalue()


def _damaged(sha256: str, error: Exception) -> NoSuchRecord:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return no_such(f"{sha256}: the image's file is damaged: {reason}")
