"""A thing in a cell of a scene, and how it is drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

FORMS: Mapping[str, int] = {
    "circle": 0,
    "triangle": 3,
    "rectangle": 4,
    "pentagon": 5,
    "hexagon": 6,
    "star": 8,
}
"""The forms of shapes with their numbers of corners; a star has four points."""

BAR = "bar"
MAX_HEIGHT = 9

COLORS: Mapping[str, tuple[int, int, int]] = {
    "black": (12, 12, 12),
    "gray": (128, 128, 128),
    "red": (240, 15, 15),
    "green": (15, 235, 15),
    "blue": (15, 15, 240),
    "yellow": (245, 240, 15),
    "teal": (10, 125, 125),
    "brown": (160, 45, 42),
}
"""The colours in sRGB; drawn colours scatter around them."""

HELD_OUT_ONE_IN = 8
"""One pair of form (for a bar, height) and colour in this many is held out: one colour per form, no whole colour."""

_SCATTER = 10
_MAX_TURN = np.deg2rad(10)

Box = tuple[float, float, float]
"""Centre (x, y) and half the side, in px."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape or a bar: its form, its colour, and its number of corners or height in units."""

    form: str
    color: str
    number: int

    @property
    def held_out(self) -> bool:
        """Whether its attributes are a held-out pair, which no training scene contains."""
        kind = self.number if self.form == BAR else tuple(FORMS).index(self.form)
        return (kind + tuple(COLORS).index(self.color)) % HELD_OUT_ONE_IN == 0


def shape(form: str, color: str) -> Thing:
    """A shape of a form."""
    return Thing(form, color, FORMS[form])


def draw_shape(
    draw: ImageDraw.ImageDraw, thing: Thing, box: Box, rng: np.random.Generator, *, turned: bool
) -> None:
    """Draws a shape that fills a box, with a random shade, random sides and, if `turned`, a random turn."""
    x, y, half = box
    ink = _ink(thing.color, rng)
    if thing.form == "circle":
        draw.ellipse((x - half, y - half, x + half, y + half), fill=ink)
        return
    turn = rng.uniform(-_MAX_TURN, _MAX_TURN) if turned else 0.0
    around = np.exp(1j * turn) * half * OUTLINES[thing.form](rng)
    draw.polygon([(x + point.real, y + point.imag) for point in around], fill=ink)


def draw_bar(
    draw: ImageDraw.ImageDraw,
    thing: Thing,
    corner: tuple[float, float],
    unit: float,
    rng: np.random.Generator,
) -> None:
    """Draws a bar with its lower left at `corner`, `thing.number` units high (`unit` in px), of random width."""
    x, y = corner
    width = unit * rng.uniform(3.0, 6.0)
    draw.rectangle((x, y - unit * thing.number, x + width, y), fill=_ink(thing.color, rng))


def _ink(color: str, rng: np.random.Generator) -> tuple[int, int, int]:
    scattered = np.clip(np.array(COLORS[color]) + rng.integers(-_SCATTER, _SCATTER + 1, size=3), 0, 255)
    red, green, blue = map(int, scattered)
    return red, green, blue


def _rectangle(rng: np.random.Generator) -> "np.typing.NDArray[np.complex128]":
    wide, high = (1.0, rng.uniform(0.45, 1.0))[:: rng.choice((1, -1))]
    return np.array([-wide - 1j * high, wide - 1j * high, wide + 1j * high, -wide + 1j * high])


def _regular(corners: int) -> "np.typing.NDArray[np.complex128]":
    outline: np.typing.NDArray[np.complex128] = -1j * np.exp(2j * np.pi * np.arange(corners) / corners)
    return outline


OUTLINES: Mapping[str, "Callable[[np.random.Generator], np.typing.NDArray[np.complex128]]"] = {
    "triangle": lambda _: _regular(3),
    "rectangle": _rectangle,
    "pentagon": lambda _: _regular(5),
    "hexagon": lambda _: _regular(6),
    "star": lambda _: _regular(8) * np.tile([1.0, 0.42], 4),
}
"""Corners as complex numbers x + iy, y down, inside the unit circle or, for rectangles, the unit square."""
