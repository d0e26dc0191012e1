"""The held-out combinations: pairs of form (for a bar, height) and colour that no training picture contains.

The warm start did see them; the training without labels does not.
"""

from collections.abc import Sequence
from functools import cache
from itertools import cycle
from pathlib import Path

import numpy as np

from ireasoner.trainer.worlds.scenes.question import Kind, choose
from ireasoner.trainer.worlds.scenes.scene import LAYOUTS, Layout, Picture, random_picture
from ireasoner.trainer.worlds.world import Asked

_TRAINING, _EVALUATION = 1, 2
"""Streams of random numbers, so that no evaluation picture is a training picture, whatever the seeds."""

_TRAINING_LAYOUTS: dict[Layout, float] = {"shapes": 0.5, "bars": 0.45, "one shape": 0.05}
"""Few pictures of one shape: their questions add nothing up, so agreement can teach nothing about them."""

_EVALUATED: Sequence[tuple[Layout, Kind]] = (
    ("shapes", "corners"),
    ("bars", "bars"),
    ("shapes", "count"),
    ("bars", "ends"),
    ("shapes", "corners"),
    ("bars", "four bars"),
    ("shapes", "comparison"),
    ("bars", "bars"),
    ("shapes", "attribute"),
    ("shapes", "count"),
    ("bars", "bars"),
    ("shapes", "corners"),
    ("bars", "comparison"),
    ("shapes", "ends"),
    ("shapes", "existence"),
    ("bars", "four bars"),
    ("shapes", "corners"),
    ("shapes", "corners"),
    ("bars", "bars"),
    ("one shape", "one shape"),
)
"""Layouts and kinds of the evaluation questions, in turn; three of twenty have a single step, without a sum."""


@cache
def training_picture(seed: int, number: int) -> Picture:
    """The training picture with this number."""
    rng = np.random.default_rng([_TRAINING, seed, number])
    layout = LAYOUTS[rng.choice(len(LAYOUTS), p=[_TRAINING_LAYOUTS[layout] for layout in LAYOUTS])]
    return random_picture(layout, rng, held_out=False)


def training_name(seed: int, number: int) -> str:
    """The file name of a training picture, without suffix."""
    return f"scene-{seed}-{number:05d}"


def named_picture(file: Path) -> Picture | None:
    """The training picture with this file name; None if it is not the name of one."""
    match file.stem.split("-"):
        case ["scene", seed, number] if seed.isdecimal() and number.isdecimal():
            return training_picture(int(seed), int(number))
        case _:
            return None


def evaluation_questions(count: int, seed: int, *, held_out: bool) -> list[Asked]:
    """`count` questions, each about a picture of its own, of every kind in turn.

    Args:
        count: Number of questions.
        seed: Seed of the pictures; another seed gives other pictures.
        held_out: Whether every answer depends on a held-out thing, or no picture contains one.
    """
    rng = np.random.default_rng([_EVALUATION, seed])
    asked: list[Asked] = []
    for layout, kind in cycle(_EVALUATED):
        while len(asked) < count:
            picture = random_picture(layout, rng, held_out=held_out)
            question = choose(kind, picture.scene, rng)
            if question is None:
                continue
            if held_out and not any(thing.held_out for thing in question.selected(picture.scene)):
                continue
            asked.append(question.about(picture))
            break
        else:
            break
    return asked
