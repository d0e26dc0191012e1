"""A grid: nine cells in three rows of three, and the digits in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from ireasoner.trainer.worlds.digit_grids.cell import CELL_PX, distort, draw_cell
from ireasoner.trainer.worlds.digit_grids.digits import Digits
from ireasoner.trainer.worlds.world import CELLS

SIDE_CELLS = 3

_LINE = 96


@dataclass(frozen=True)
class Grid:
    """An 84 by 84 px picture, and the nine digits in it, row by row."""

    image: Image.Image
    digits: tuple[int, ...]


def draw_grid(cells: npt.NDArray[np.uint8]) -> Image.Image:
    """An RGB picture of 84 by 84 px from nine cells, (9, 28, 28), laid out row by row.

    Lines of 2 px run between the cells but not around them, so that a cell's edges show its position.
    """
    rows = cells.reshape(SIDE_CELLS, SIDE_CELLS, CELL_PX, CELL_PX).transpose(0, 2, 1, 3)
    picture = rows.reshape(SIDE_CELLS * CELL_PX, SIDE_CELLS * CELL_PX)
    for border in range(CELL_PX, SIDE_CELLS * CELL_PX, CELL_PX):
        picture[border - 1 : border + 1] = _LINE
        picture[:, border - 1 : border + 1] = _LINE
    return Image.fromarray(picture).convert("RGB")


def random_grids(digits: Digits, count: int, seed: int) -> Iterator[Grid]:
    """`count` grids of randomly drawn digits; an image occurs at most once per grid, but in several grids."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([draw_cell(ink) for ink in digits.ink])
    for _ in range(count):
        chosen = rng.choice(len(digits), size=CELLS, replace=False)
        yield Grid(image=draw_grid(drawn[chosen]), digits=tuple(int(label) for label in digits.label[chosen]))


def rewritten_grids(digits: Digits, rng: np.random.Generator) -> Iterator[Grid]:
    """Grids of randomly drawn digits without an end, each digit in a handwriting of its own."""
    drawn = [draw_cell(ink) for ink in digits.ink]
    while True:
        chosen = rng.integers(len(digits), size=CELLS)
        cells = np.stack([distort(drawn[index], rng) for index in chosen])
        yield Grid(image=draw_grid(cells), digits=tuple(int(label) for label in digits.label[chosen]))
