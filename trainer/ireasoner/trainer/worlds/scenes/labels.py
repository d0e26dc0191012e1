"""True answers to questions about training pictures: `labels = "ireasoner.trainer.worlds.scenes.labels:answer"`."""

from pathlib import Path

import numpy as np

from ireasoner.trainer.images import read_image
from ireasoner.trainer.worlds.scenes.held_out import named_picture
from ireasoner.trainer.worlds.scenes.question import BY_TEXT


def answer(image: Path, question: str) -> str | None:
    """The true answer, from the scene that the file name identifies.

    None if the question is not one about scenes or has no answer about this one, or if the picture differs in any pixel
    from the scene drawn again.
    """
    asked = BY_TEXT.get(question)
    picture = named_picture(image) if asked is not None else None
    if asked is None or picture is None or not asked.openings(picture.scene):
        return None
    if not np.array_equal(np.asarray(read_image(image)), np.asarray(picture.image)):
        return None
    return asked.about(picture).answer
