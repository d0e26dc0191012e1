"""A scene: things in cells, and a picture of it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from ireasoner.trainer.worlds.scenes.thing import (
    BAR,
    COLORS,
    FORMS,
    MAX_HEIGHT,
    Thing,
    draw_bar,
    draw_shape,
    shape,
)
from ireasoner.trainer.worlds.world import CELLS

Layout = Literal["shapes", "bars", "one shape"]
LAYOUTS: tuple[Layout, ...] = ("shapes", "bars", "one shape")

SIDE_CELLS = 3
CELL_PX = 28
ONE_SHAPE_PX = 64
"""Side of the picture of one shape, which the model's processor enlarges to nine tokens."""

_FINE = 4
"""Pictures are drawn this many times larger and then reduced, for smooth edges."""
_LINE = (96, 96, 96)
_EMPTY_SHARE = 0.15
_OTHER_FORMS_SHARE = 0.2
_INKED = 60
_COVERED_SHARE = 0.08
_FAMILIAR_FORMS = ("circle", "triangle", "rectangle")


@dataclass(frozen=True, slots=True)
class Scene:
    """The things in nine cells, row by row (None: empty); in the layout `one shape`, a single thing."""

    layout: Layout
    cells: tuple[Thing | None, ...]

    @property
    def things(self) -> list[Thing]:
        """Its things, row by row."""
        return [thing for thing in self.cells if thing is not None]


@dataclass(frozen=True, slots=True)
class Picture:
    """A scene, and a picture of it."""

    image: Image.Image
    scene: Scene

    @property
    def seen(self) -> tuple[Thing | None, ...]:
        """What each of the nine image tokens shows; one shape is shown by every token that it partly covers."""
        if self.scene.layout != "one shape":
            return self.scene.cells
        pixels = np.asarray(self.image.resize((SIDE_CELLS * CELL_PX,) * 2), dtype=int)
        inked = np.abs(pixels - np.median(pixels, axis=(0, 1))).max(axis=2) > _INKED
        covered = inked.reshape(SIDE_CELLS, CELL_PX, SIDE_CELLS, CELL_PX).mean(axis=(1, 3)) > _COVERED_SHARE
        return tuple(self.scene.cells[0] if cell else None for cell in covered.flatten())


def random_picture(layout: Layout, rng: np.random.Generator, *, held_out: bool) -> Picture:
    """A random scene of a layout with its picture; it contains held-out things only if `held_out`."""
    scene = random_scene(layout, rng, held_out=held_out)
    return Picture(draw_scene(scene, rng), scene)


def random_scene(layout: Layout, rng: np.random.Generator, *, held_out: bool) -> Scene:
    """A random scene of a layout, with few colours and forms, so that several things share them."""
    while True:
        scene = _random_scene(layout, rng)
        if held_out or not any(thing.held_out for thing in scene.things):
            return scene


def draw_scene(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """An RGB picture: 84 by 84 px in cells of 28 px with lines of 2 px between them; 64 by 64 px for one shape."""
    paper = tuple(int(level) for level in rng.integers(230, 256, size=3))
    side = (ONE_SHAPE_PX if scene.layout == "one shape" else SIDE_CELLS * CELL_PX) * _FINE
    image = Image.new("RGB", (side, side), paper)
    draw = ImageDraw.Draw(image)
    if scene.layout == "one shape":
        half = rng.uniform(0.07, 0.25) * side
        x, y = rng.uniform(half, side - half, size=2)
        draw_shape(draw, scene.things[0], (x, y, half), rng, turned=False)
        return image.reduce(_FINE)
    cell = CELL_PX * _FINE
    for border in range(cell, side, cell):
        draw.rectangle((border - _FINE, 0, border + _FINE - 1, side), fill=_LINE)
        draw.rectangle((0, border - _FINE, side, border + _FINE - 1), fill=_LINE)
    for index, thing in enumerate(scene.cells):
        if thing is None:
            continue
        left, top = index % SIDE_CELLS * cell, index // SIDE_CELLS * cell
        if thing.form == BAR:
            corner = left + cell * rng.uniform(0.12, 0.38), top + 0.93 * cell
            draw_bar(draw, thing, corner, cell * 0.095, rng)
        else:
            half = cell * rng.uniform(0.3, 0.41)
            x, y = np.array([left, top]) + cell / 2 + rng.uniform(-0.05, 0.05, size=2) * cell
            draw_shape(draw, thing, (x, y, half), rng, turned=True)
    return image.reduce(_FINE)


def _random_scene(layout: Layout, rng: np.random.Generator) -> Scene:
    if layout == "one shape":
        usual = rng.random() >= _OTHER_FORMS_SHARE
        form = str(rng.choice(_FAMILIAR_FORMS if usual else tuple(FORMS)))
        return Scene(layout, (shape(form, str(rng.choice(tuple(COLORS)))),))
    colors = [str(color) for color in rng.choice(tuple(COLORS), size=rng.integers(2, 5), replace=False)]
    if layout == "bars":
        heights = rng.integers(1, MAX_HEIGHT + 1, size=CELLS)
        return Scene(layout, tuple(Thing(BAR, str(rng.choice(colors)), int(height)) for height in heights))
    forms = [str(form) for form in rng.choice(tuple(FORMS), size=rng.integers(3, 6), replace=False)]
    return Scene(
        layout,
        tuple(
            None if rng.random() < _EMPTY_SHARE else shape(str(rng.choice(forms)), str(rng.choice(colors)))
            for _ in range(CELLS)
        ),
    )
