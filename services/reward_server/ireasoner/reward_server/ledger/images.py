"""The images of a ledger: files named by the SHA-256 of their bytes, in `images/`."""

import hashlib
import io
import os
import warnings
from pathlib import Path
from time import thread_time

from PIL import Image, PngImagePlugin
from PIL.ImageFile import ImageFile

from ireasoner.reward_server.ledger.schema import IMAGES

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MAX_BYTES = 16 * 2**20
MAX_PIXELS = 2**24
PIXEL_BYTES = 8
"""Memory of a pixel while an image is read: decoded, and as its decoder holds it."""

DECODING_DEADLINE_S = 10.0
"""Longest processor time to decode an image: a JPEG of 16 MiB can have half a million passes over its pixels.

It is that of the thread, so a good image is not refused because the machine is busy.
"""
PART_BYTES = 2**11
"""Bytes that a decoder takes at once, between two looks at the clock."""

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
    with opened(data) as image:
        width, height = image.size
    if width * height > MAX_PIXELS:
        raise TooManyPixels(f"{width} x {height} pixels; the ledger takes {MAX_PIXELS}")
    return width * height


def check_whole(data: bytes) -> None:
    """Decodes the first frame of an image; raises NotAnImage if it is damaged, or if that takes too long.

    A WebP is decoded in one call, which ends at no deadline; its size bounds it.
    """
    with opened(data) as image:
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


def opened(data: bytes) -> ImageFile:
    """The image, whose head alone is read; raises NotAnImage or TooManyPixels.

    Decoding it, in the same thread, raises TimeoutError once that has taken `DECODING_DEADLINE_S` of processor time.
    """
    try:
        image = Image.open(_Until(data, thread_time() + DECODING_DEADLINE_S), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"more than {MAX_PIXELS} pixels") from error
    except TimeoutError as error:
        raise NotAnImage(f"an image whose head cannot be read: {error}") from error
    except Exception as error:
        raise NotAnImage(f"not one of {', '.join(FORMATS)}") from error
    image.decodermaxblock = PART_BYTES
    return image


class _Until(io.BytesIO):
    """Bytes that can be read until the thread has used so much processor time."""

    def __init__(self, data: bytes, end_s: float) -> None:
        super().__init__(data)
        self._end_s = end_s

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads; raises TimeoutError when the time is over."""
        if thread_time() > self._end_s:
            raise TimeoutError(f"it takes longer than {DECODING_DEADLINE_S:.0f} s")
        return super().read(size)
