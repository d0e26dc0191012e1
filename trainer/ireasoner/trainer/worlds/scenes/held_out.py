"""What is held out: pairs of form (of a bar: height) and colour, which no picture to train on holds.

The warm start has met them, like all others; it is the training without labels that has not.
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
"""Streams of random numbers: pictures to train on are none to be examined on, whatever their seeds."""

_TRAINING_LAYOUTS: dict[Layout, float] = {"shapes": 0.5, "bars": 0.45, "one shape": 0.05}
"""Few pictures of one shape: nothing about them is added up, so agreement has nothing to find out."""

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
"""What is asked, in turn: three of twenty questions have one step, and nothing to climb."""


@cache
def training_picture(seed: int, number: int) -> Picture:
    """The picture of this number to train on."""
    rng = np.random.default_rng([_TRAINING, seed, number])
    layout = LAYOUTS[rng.choice(len(LAYOUTS), p=[_TRAINING_LAYOUTS[layout] for layout in LAYOUTS])]
    return random_picture(layout, rng, held_out=False)


def training_name(seed: int, number: int) -> str:
    """What its file is called, without its suffix."""
    return f"scene-{seed}-{number:05d}"


def named_picture(file: Path) -> Picture | None:
    """The picture to train on that has this file name; None where it is not one of theirs."""
    match file.stem.split("-"):
        case ["scene", seed, number] if seed.isdecimal() and number.isdecimal():
            return training_picture(int(seed), int(number))
        case _:
            return None


def evaluation_questions(count: int, seed: int, *, held_out: bool) -> list[Asked]:
    """`count` questions, one about each picture, of every kind in turn.

    Args:
        count: How many.
        seed: Seed of the pictures; those of another seed are others.
        held_out: Whether the answers depend on things that are held out, or no such thing stands in the picture.
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
