"""True answers to questions about grids: `labels = "ireasoner.trainer.worlds.digit_grids.labels:answer"`."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ireasoner.trainer.images import read_image
from ireasoner.trainer.worlds.digit_grids.cell import CELL_PX, draw_cell
from ireasoner.trainer.worlds.digit_grids.digits import PARTS, load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import SIDE_CELLS, Grid
from ireasoner.trainer.worlds.digit_grids.question import find_question
from ireasoner.trainer.worlds.world import Asked


def answer(image: Path, question: str) -> str | None:
    """The true answer as a string; None if the question is not one about grids, or the picture is not a grid."""
    asked = asked_about(image, question)
    return None if asked is None else asked.answer


def asked_about(image: Path, question: str) -> Asked | None:
    """The question with everything that is true about the picture; None as for `answer`."""
    known = find_question(question)
    digits = digits_in(image) if known is not None else None
    if known is None or digits is None:
        return None
    return known.about(Grid(read_image(image), digits))


def digits_in(image: Path) -> tuple[int, ...] | None:
    """The nine digits of a grid, row by row, by comparing pixels with every known digit; None if it is no grid."""
    pixels = np.asarray(read_image(image).convert("L"))
    if pixels.shape != (SIDE_CELLS * CELL_PX, SIDE_CELLS * CELL_PX):
        return None
    rows = pixels.reshape(SIDE_CELLS, CELL_PX, SIDE_CELLS, CELL_PX).swapaxes(1, 2)
    seen = [_known().get(_inside(cell)) for cell in rows.reshape(-1, CELL_PX, CELL_PX)]
    digits = tuple(digit for digit in seen if digit is not None)
    return digits if len(digits) == len(seen) else None


@cache
def _known() -> dict[bytes, int]:
    return {
        _inside(draw_cell(ink)): int(label)
        for part in PARTS
        for digits in [load_digits_part(part)]
        for ink, label in zip(digits.ink, digits.label, strict=True)
    }


def _inside(cell: npt.NDArray[np.uint8]) -> bytes:
    """The cell without its edge, where the lines between cells run."""
    return cell[1:-1, 1:-1].tobytes()
