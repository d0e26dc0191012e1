"""The images of a ledger: files named by the SHA-256 of their bytes, in `images/`."""

import hashlib
import io
import os
import warnings
from pathlib import Path

from PIL import Image, PngImagePlugin

from ireasoner.reward_server.ledger.schema import IMAGES

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_BYTES = 16 * 2**20
MAX_PIXELS = 2**24
PIXEL_BYTES = 8
"""Memory of a pixel while an image is read: decoded, and as its decoder holds it."""

MAX_TEXT_BYTES = 4 * 2**20
"""Of the texts in a PNG, which come before its pixels and can be compressed a thousandfold."""

PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_BYTES
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `pixels` has a bound of its own


class NotAnImage(Exception):
    """Bytes are not an image of a known format; the message gives the reason."""


class TooManyPixels(NotAnImage):
    """The image has more than `MAX_PIXELS` pixels."""


def image_file(folder: Path, sha256: str) -> Path:
    """Where the image with a hash is kept."""
    return folder / IMAGES / sha256[:2] / sha256


def pixels(data: bytes) -> int:
    """The number of pixels that an image claims to have, read from its head; raises NotAnImage or TooManyPixels."""
    with _opened(data) as image:
        width, height = image.size
    if width * height > MAX_PIXELS:
        raise TooManyPixels(f"{width} x {height} pixels; the ledger takes {MAX_PIXELS}")
    return width * height


def check_whole(data: bytes) -> None:
    """Decodes the first frame of an image; raises NotAnImage if it is damaged."""
    with _opened(data) as image:
        try:
            image.load()
        except Exception as error:  # whatever a decoder raises on hostile bytes
            raise NotAnImage(f"the {image.format} cannot be decoded: {error}") from error


def store(folder: Path, sha256: str, data: bytes) -> None:
    """Writes an image; after a crash the file is either whole or not there."""
    file = image_file(folder, sha256)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(data)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _opened(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"more than {MAX_PIXELS} pixels") from error
    except Exception as error:
        raise NotAnImage(f"not one of {', '.join(FORMATS)}") from error
