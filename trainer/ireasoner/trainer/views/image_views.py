"""Views whose image is another one of the same scene: the answer must stay equal.

No view is larger or thinner than the image, so it fits where the image does: the policy's bounds, the context.
"""

import io
import math
import random

from PIL import Image, ImageEnhance

_LEAST_SIDE_PX = 28
"""Side of one image token of Qwen2.5-VL; no side is made shorter than it."""
_WHITE = (255, 255, 255)


def resize(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The image at 0.7 to 0.9 of its size."""
    return _scaled(picture, rng.uniform(0.7, 0.9))


def pad(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The image at 0.85 to 0.95 of its size, somewhere on white paper of its former size."""
    smaller = _scaled(picture, rng.uniform(0.85, 0.95))
    paper = Image.new("RGB", picture.size, _WHITE)
    free = picture.width - smaller.width, picture.height - smaller.height
    paper.paste(smaller, (rng.randint(0, free[0]), rng.randint(0, free[1])))
    return paper


def jpeg(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The image after JPEG compression of quality 40 to 80."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=rng.randint(40, 80))
    with Image.open(buffer, formats=["JPEG"]) as file:
        return file.convert("RGB")


def crop(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The image without 0.03 to 0.08 of its width and of its height, taken from the margins."""
    share = rng.uniform(0.03, 0.08)
    width, height = picture.size
    cuts = (
        (math.ceil(share * width), int(share * height))
        if width >= height
        else (int(share * width), math.ceil(share * height))
    )
    left, top = (rng.randint(0, min(cut, side - 1)) for cut, side in zip(cuts, picture.size, strict=True))
    return picture.crop((left, top, left + max(width - cuts[0], 1), top + max(height - cuts[1], 1)))


def brightness(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The image darker (by a factor of 0.7 to 0.9) or brighter (1.1 to 1.3)."""
    factor = rng.uniform(0.1, 0.3)
    return ImageEnhance.Brightness(picture).enhance(1 + factor if rng.random() < 0.5 else 1 - factor)


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    """The image at `factor` < 1 of its size; a side of 28 px or less stays, and rounding makes it no thinner."""
    width, height = picture.size
    rounded = (math.floor, math.ceil) if width >= height else (math.ceil, math.floor)
    sides = (
        side if side <= _LEAST_SIDE_PX else max(whole(factor * side), _LEAST_SIDE_PX)
        for side, whole in zip(picture.size, rounded, strict=True)
    )
    return picture.resize((next(sides), next(sides)), Image.Resampling.BICUBIC)
