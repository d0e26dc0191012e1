"""Images as they are served: decoded and written anew, so that a browser gets pixels and nothing else of the file."""

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from ireasoner.reward_server.ledger import schema
from ireasoner.reward_server.ledger.ledgers import Ledgers, Viewer, no_such

MEDIA_TYPE = "image/webp"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 50_000_000
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
            return ledger.folder / schema.IMAGES / sha256[:2] / sha256
    raise no_such(sha256)


def written_anew(ledgers: Ledgers, viewer: Viewer, sha256: str) -> bytes:
    """The image as WebP; raises NoSuchRecord if the viewer may not see it, or its file is missing or damaged."""
    file = image_file(ledgers, viewer, sha256)
    try:
        with warnings.catch_warnings(), Image.open(file, formats=FORMATS) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if image.width * image.height > MAX_PIXELS:
                raise no_such(f"{sha256}: the image has more than {MAX_PIXELS} pixels")
            upright = ImageOps.exif_transpose(image)
            shown = upright.convert(
                "RGBA" if "A" in upright.getbands() or "transparency" in image.info else "RGB"
            )
            shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            encoded = io.BytesIO()
            shown.save(encoded, "WEBP", quality=QUALITY)
    except FileNotFoundError:
        raise no_such(f"{sha256}: the image's file is missing") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise no_such(f"{sha256}: the image's file is damaged") from None
    return encoded.getvalue()
