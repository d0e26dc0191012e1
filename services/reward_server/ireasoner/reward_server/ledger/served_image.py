"""Images as they are served: decoded and written anew, so that a browser gets pixels and nothing else of the file."""

import io
from pathlib import Path

from PIL import Image, ImageOps

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


def written_anew(ledgers: Ledgers, viewer: Viewer, sha256: str) -> bytes:
    """The image as WebP; raises NoSuchRecord if the viewer may not see it, or its file is missing or damaged."""
    file = image_file(ledgers, viewer, sha256)
    try:
        data = file.read_bytes()
        images.pixels(data)
        with Image.open(io.BytesIO(data), formats=images.FORMATS) as image:
            upright = ImageOps.exif_transpose(image)
            shown = upright.convert(
                "RGBA" if "A" in upright.getbands() or "transparency" in image.info else "RGB"
            )
            shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            encoded = io.BytesIO()
            shown.save(encoded, "WEBP", quality=QUALITY)
    except FileNotFoundError:
        raise no_such(f"{sha256}: the image's file is missing") from None
    except images.NotAnImage as error:
        raise no_such(f"{sha256}: the image's file is damaged: {error}") from None
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises on a damaged file
        raise no_such(f"{sha256}: the image's file is damaged: {error}") from None
    return encoded.getvalue()
