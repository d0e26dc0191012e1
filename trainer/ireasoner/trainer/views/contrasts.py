"""Views that must change the answer: what a policy still answers without the image, it did not see."""

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from ireasoner.trainer.errors import UnreadableImageError, ViewError
from ireasoner.trainer.images import read_image
from ireasoner.trainer.views.view import Form, Transform, drawn

_GREY = (128, 128, 128)
_TRIES = 20


def blank(picture: Image.Image, question: str, seed: int, index: int) -> Form:
    """A grey image of the same size."""
    return Image.new("RGB", picture.size, _GREY), question, None


def foreign(paths: Sequence[Path], read: Callable[[Path], Image.Image] = read_image) -> Transform:
    """Another image of the run, with other pixels; `read` reads the image of a path."""

    def other(picture: Image.Image, question: str, seed: int, index: int) -> Form:
        rng = drawn(seed, "foreign", index)
        for path in rng.sample(paths, min(_TRIES, len(paths))):
            try:
                found = read(path)
            except UnreadableImageError:  # it was removed after the start of the run
                continue
            if found.size != picture.size or found.tobytes() != picture.tobytes():
                return found, question, None
        raise ViewError(
            f"none of {min(_TRIES, len(paths))} images of the run differs from the one that is asked about"
        )

    return other
