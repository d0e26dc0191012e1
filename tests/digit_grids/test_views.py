"""Views of grids: which keep the true answer, which keep it in another question, and which do not."""

from pathlib import Path

import pytest
from PIL import Image

from ireasoner.trainer.worlds.digit_grids.digits import load_digits_part
from ireasoner.trainer.worlds.digit_grids.grid import Grid, random_grids
from ireasoner.trainer.worlds.digit_grids.labels import digits_in
from ireasoner.trainer.worlds.digit_grids.question import QUESTIONS, REMAINDERS, Question, find_question
from ireasoner.trainer.worlds.digit_grids.views import cells_permuted, row_permuted, transposed

[GRID] = random_grids(load_digits_part("unlabelled"), 1, 7)
EVERY = (*QUESTIONS, *REMAINDERS)


def digits(image: Image.Image, folder: Path) -> tuple[int, ...]:
    """The digits of a grid, as the labels read them."""
    image.save(folder / "grid.png")
    read = digits_in(folder / "grid.png")
    assert read is not None, "the cells are whole"
    return read


@pytest.mark.parametrize("question", EVERY, ids=lambda question: question.text)
def test_permuted_cells_of_the_asked_line_keep_the_answer(question: Question, tmp_path: Path) -> None:
    orders = set()
    for index in range(3):
        view = row_permuted(GRID.image, question.text, 11, index)
        assert view is not None
        assert view[1:] == (question.text, None)
        shown = digits(view[0], tmp_path)
        assert question.answer(shown) == question.answer(GRID.digits)
        assert sorted(question.operands(shown)) == sorted(question.operands(GRID.digits))
        others = set(range(9)) - set(question.cells)
        assert all(shown[cell] == GRID.digits[cell] for cell in others)
        orders.add(view[0].tobytes())
    assert GRID.image.tobytes() not in orders
    assert len(orders) == min(3, 1 if len(question.cells) == 2 else 3), "repeats differ as long as they can"


def test_a_permutation_depends_on_the_seed() -> None:
    images = [row_permuted(GRID.image, QUESTIONS[0].text, seed, 0) for seed in range(20)]
    assert 1 < len({view[0].tobytes() for view in images if view}) <= 5


TRANSPOSED = [question for question in EVERY if question.kind in ("row", "column")] + [
    question for question in EVERY if question.subject == "the falling diagonal"
]


@pytest.mark.parametrize("question", EVERY, ids=lambda question: question.text)
def test_a_transposed_grid_shows_the_same_digits_in_the_same_order(
    question: Question, tmp_path: Path
) -> None:
    view = transposed(GRID.image, question.text, 0, 0)
    assert (view is not None) == (question in TRANSPOSED)
    if view is not None:
        turned = find_question(view[1])
        assert turned is not None
        assert turned.operands(digits(view[0], tmp_path)) == question.operands(GRID.digits)
        assert (turned.kind, question.kind) in {("row", "column"), ("column", "row"), ("diagonal",) * 2}


def test_all_cells_permuted_is_a_false_view(tmp_path: Path) -> None:
    changed = 0
    for index in range(10):
        view = cells_permuted(GRID.image, QUESTIONS[0].text, 0, index)
        assert view is not None
        shown = digits(view[0], tmp_path)
        assert sorted(shown) == sorted(GRID.digits)
        changed += QUESTIONS[0].answer(shown) != QUESTIONS[0].answer(GRID.digits)
    assert changed >= 5


@pytest.mark.parametrize("view", [row_permuted, transposed, cells_permuted])
def test_what_is_no_grid_has_no_such_view(view: object) -> None:
    assert callable(view)
    assert view(Image.new("RGB", (90, 84)), QUESTIONS[0].text, 0, 0) is None


@pytest.mark.parametrize("view", [row_permuted, transposed])
def test_a_question_that_is_not_about_grids_has_no_such_view(view: object) -> None:
    assert callable(view)
    assert view(GRID.image, "How many dogs are there?", 0, 0) is None


def test_the_drawing_is_that_of_a_grid(tmp_path: Path) -> None:
    view = row_permuted(GRID.image, QUESTIONS[0].text, 0, 0)
    assert view is not None
    back = row_permuted(view[0], QUESTIONS[0].text, 0, 0)
    assert back is not None
    grid = Grid(back[0], digits(back[0], tmp_path))
    assert grid.image.size == GRID.image.size
