"""The pixels of an image file: what vLLM's own loader makes of the same bytes.

Trainer and rollout server must see equal pixels, and so must any server of the trained policy. Therefore, as in vLLM:
    an image is turned upright by its EXIF orientation
    transparency is laid on white
    an animation, or a file of several pages, is its first frame
    an embedded colour profile is ignored

16-bit grey is the exception: vLLM cuts it off at 255, which turns nearly all of it white. Here it is scaled to 8 bits.
The rollout server gets the pixels as PNG, so during training it sees the same.
"""

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ireasoner.trainer.data.archive import MOST_BYTES
from ireasoner.trainer.errors import UnreadableImageError
from ireasoner.trainer.shown_path import shown

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read, whatever a file is called. No other decoder is tried: that of EPS, for
example, would start Ghostscript."""

_SHOWN_PIXELS = 2**20
_SHOWN_SIDE = 2**15
"""A JPEG's sides are below 2^16."""
_WHITE = (255, 255, 255)
_GREY_16_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_WITHOUT_WHITE = {"F": "floating-point numbers", "I": "32-bit integers"}


def read_image(path: Path) -> Image.Image:
    """The image in RGB: upright, on white, decoded in full, without metadata.

    Raises:
        UnreadableImageError: The file is missing, no image, torn, larger than 1 GiB, or its colours are not defined
            (floating-point numbers, 32-bit integers). The message names the file.
    """
    with _named_faults(shown(path)):
        _check_file(path)
        return _decoded(path)


def read_encoded(path: Path) -> bytes:
    """The bytes of an image file, which is not decoded.

    Raises:
        OSError: It is missing, or no regular file.
        ValueError: It is larger than 1 GiB.
    """
    _check_file(path)
    return path.read_bytes()


def decode_image(content: bytes, name: str) -> Image.Image:
    """The image in `content`, as `read_image` reads a file; `name` says in messages where it comes from."""
    with _named_faults(name):
        _check_bytes(len(content))
        return _decoded(io.BytesIO(content))


def _decoded(file: Path | io.BytesIO) -> Image.Image:
    with Image.open(file, formats=FORMATS) as image:
        return _rgb(_upright(image), image.format)


@contextlib.contextmanager
def _named_faults(name: str) -> Iterator[None]:
    try:
        yield
    except (
        Exception
    ) as error:  # decoders raise anything on a broken file: SyntaxError, struct.error, IndexError
        raise UnreadableImageError(name, _reason(error)) from error


def png_bytes(image: Image.Image) -> bytes:
    """The image as PNG, which is lossless: the server sees the pixels of the training forward pass."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def shown_bytes(image: Image.Image, png: bytes) -> bytes:
    """The image for people: its PNG, which is given, or a JPEG of at most 2^20 pixels if it is larger."""
    pixels = image.width * image.height
    if pixels <= _SHOWN_PIXELS:
        return png
    scale = min(math.sqrt(_SHOWN_PIXELS / pixels), _SHOWN_SIDE / max(image.size))
    size = max(1, int(scale * image.width)), max(1, int(scale * image.height))
    buffer = io.BytesIO()
    image.resize(size, reducing_gap=2.0).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def _check_file(path: Path) -> None:
    """Refuses a file that is too large, or none: reading a pipe would wait for ever. Raises as `read_encoded` does."""
    if path.exists() and not path.is_file():
        raise OSError(0, "it is a folder" if path.is_dir() else "it is not a regular file")
    _check_bytes(path.stat().st_size)


def _check_bytes(size_bytes: int) -> None:
    if size_bytes > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes, the most that are read")


def _upright(image: Image.Image) -> Image.Image:
    """The decoded first frame, turned by its EXIF orientation; one that cannot be parsed counts as none."""
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    image.load()
    return image


def _rgb(image: Image.Image, file_format: str | None) -> Image.Image:
    if image.mode in _GREY_16_BIT or (image.mode == "I" and file_format == "PPM"):
        image = _in_8_bits(image)
    elif image.mode in _WITHOUT_WHITE:
        raise ValueError(
            f"its pixels are {_WITHOUT_WHITE[image.mode]}, for which white is not defined: convert it to 8 bits"
        )
    if image.mode != "RGB":
        image = _on_white(image) if _is_transparent(image) else image.convert("RGB")
    image.info.clear()  # PNG would carry a profile or a transparent colour along
    return image


def _in_8_bits(grey: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey: 65,535 becomes 255. The colour that a PNG marks as transparent becomes white."""
    levels = np.asarray(grey)
    scaled = np.rint(levels / 257).astype(np.uint8)
    if "transparency" in grey.info:
        scaled[levels == grey.info["transparency"]] = 255
    return Image.fromarray(scaled)


def _is_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def _on_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    paper = Image.new("RGB", layer.size, _WHITE)
    paper.paste(layer, mask=layer.getchannel("A"))
    return paper


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"no image in one of the formats {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
