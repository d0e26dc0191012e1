"""A cell: one handwritten digit of 28 by 28 pixels, which the model sees as one image token."""

import numpy as np
import numpy.typing as npt
from PIL import Image

CELL_PX = 28
"""Side of a cell: a vision patch of 14 px, times a spatial merge of 2."""

_PAPER = 255
_DIGIT_PX = 24
_MAX_SHIFT_PX = 2.5
_MAX_TURN_DEGREES = 14.0
_MAX_SHEAR = 0.15
_SCALE_RANGE = (0.84, 1.14)
_CONTRAST_RANGE = (0.6, 1.1)

Cell = npt.NDArray[np.uint8]
"""(28, 28) grey levels, dark ink on white paper."""


def draw_cell(ink: npt.NDArray[np.uint8]) -> Cell:
    """The digit's 8 by 8 ink levels (0..16) enlarged to 24 px (bicubic) in the middle of a white cell."""
    levels = Image.fromarray(_PAPER - np.minimum(ink.astype(int) * 16, _PAPER).astype(np.uint8))
    cell = Image.new("L", (CELL_PX, CELL_PX), _PAPER)
    margin = (CELL_PX - _DIGIT_PX) // 2
    cell.paste(levels.resize((_DIGIT_PX, _DIGIT_PX), Image.Resampling.BICUBIC), (margin, margin))
    return np.asarray(cell)


def distort(cell: Cell, rng: np.random.Generator) -> Cell:
    """The same digit in another handwriting: shifted, turned, sheared, scaled, fainter or darker."""
    turn = np.deg2rad(rng.uniform(-_MAX_TURN_DEGREES, _MAX_TURN_DEGREES))
    shear = rng.uniform(-_MAX_SHEAR, _MAX_SHEAR)
    scale_x, scale_y = rng.uniform(*_SCALE_RANGE, size=2)
    shift = rng.uniform(-_MAX_SHIFT_PX, _MAX_SHIFT_PX, size=2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([1 / scale_x, 1 / scale_y])
    centre = np.full(2, (CELL_PX - 1) / 2)
    offset = centre - matrix @ (centre + shift)
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    moved = Image.fromarray(cell).transform(
        cell.shape, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR, fillcolor=_PAPER
    )
    ink = (_PAPER - np.asarray(moved, dtype=np.float32)) * rng.uniform(*_CONTRAST_RANGE)
    return np.asarray(_PAPER - np.clip(ink, 0, _PAPER), dtype=np.uint8)
