"""Views of questions about grids, for the setting `views.names`; see docs/views.md."""

import random
import re
from collections.abc import Sequence
from itertools import permutations

import numpy as np
from PIL import Image

from ireasoner.trainer.worlds.digit_grids.cell import CELL_PX
from ireasoner.trainer.worlds.digit_grids.grid import SIDE_CELLS, draw_grid
from ireasoner.trainer.worlds.digit_grids.question import find_question
from ireasoner.trainer.worlds.world import CELLS

_SIDE_PX = SIDE_CELLS * CELL_PX
_PAPER = 255

GridView = tuple[Image.Image, str, None]
"""A grid and a question, whose answer is the plain question's."""


def row_permuted(image: Image.Image, question: str, seed: int, index: int) -> GridView | None:
    """The cells that the question adds up, in another order: the sum stays.

    Views of one group that repeat the name have different orders, as long as there are any: a line of three cells has
    five besides the plain one. None if the question is not about a grid.
    """
    asked = find_question(question)
    if asked is None or image.size != (_SIDE_PX, _SIDE_PX):
        return None
    others = list(permutations(asked.cells))[1:]
    random.Random(f"{seed}/row_permuted").shuffle(others)
    order = list(range(CELLS))
    for cell, source in zip(asked.cells, others[index % len(others)], strict=True):
        order[cell] = source
    return _moved(image, order), question, None


def transposed(image: Image.Image, question: str, seed: int, index: int) -> GridView | None:
    """Rows as columns and columns as rows, in the image and in the question.

    The same digits are added up in the same order, so there is nothing that a policy would read otherwise. None if no
    question about the transposed grid reads the same digits in the same order.
    """
    asked = find_question(question)
    other = {"row": "column", "column": "row"}
    text = re.sub("row|column", lambda match: other[match[0]], question)
    turned = find_question(text)
    if asked is None or turned is None or image.size != (_SIDE_PX, _SIDE_PX):
        return None
    order = [SIDE_CELLS * (cell % SIDE_CELLS) + cell // SIDE_CELLS for cell in range(CELLS)]
    if tuple(order[cell] for cell in turned.cells) != asked.cells:
        return None
    return _moved(image, order), text, None


def cells_permuted(image: Image.Image, question: str, seed: int, index: int) -> GridView | None:
    """All nine cells in another order, under the same question: a false view, whose true answer is another one.

    None if the image is no grid.
    """
    if image.size != (_SIDE_PX, _SIDE_PX):
        return None
    order = list(range(CELLS))
    rng = random.Random(f"{seed}/cells_permuted/{index}")
    while order == list(range(CELLS)):
        rng.shuffle(order)
    return _moved(image, order), question, None


def _moved(image: Image.Image, order: Sequence[int]) -> Image.Image:
    """The grid whose cell i is cell `order[i]` of `image`; its lines stay."""
    pixels = np.asarray(image.convert("L"))
    cells = pixels.reshape(SIDE_CELLS, CELL_PX, SIDE_CELLS, CELL_PX).swapaxes(1, 2)
    inside = np.full((CELLS, CELL_PX, CELL_PX), _PAPER, np.uint8)
    inside[:, 1:-1, 1:-1] = cells.reshape(CELLS, CELL_PX, CELL_PX)[list(order), 1:-1, 1:-1]
    return draw_grid(inside)
