"""The questions: worked examples of each kind, true first steps, and answers that follow from them."""

from itertools import product

import numpy as np
import pytest

from ireasoner.trainer.tiny_model.completion import parse_completion
from ireasoner.trainer.tiny_model.worked_answer import FaultyAddition, worked_answer
from ireasoner.trainer.worlds.scenes.question import BY_TEXT, QUESTIONS, choose
from ireasoner.trainer.worlds.scenes.scene import LAYOUTS, Layout, Picture, Scene, draw_scene, random_picture
from ireasoner.trainer.worlds.scenes.thing import BAR, FORMS, OUTLINES, Thing, shape
from ireasoner.trainer.worlds.world import Asked
from replication.reasoning import check

SHAPES = Scene(
    "shapes",
    (
        *(shape("circle", "red"), None, shape("star", "teal")),
        *(shape("hexagon", "red"), shape("triangle", "red"), shape("circle", "gray")),
        *(None, shape("rectangle", "teal"), shape("pentagon", "gray")),
    ),
)
BARS = Scene(
    "bars",
    tuple(
        Thing(BAR, color, height)
        for height, color in enumerate(["red", "red", "blue", "blue", "red", *["green"] * 4], start=1)
    ),
)
FOUR = ["The bars of the four corners read 1, 3, 7, 9."]
ROW_1 = "The shapes of row 1 have 0, 0, 8 corners."
COLUMN_3 = "The shapes of column 3 have 8, 0, 5 corners."
RISING = "The shapes of the rising diagonal have 0, 3, 8 corners."
RED = ["The rows have 1, 2, 0 red shapes.", "The columns have 2, 1, 0 red shapes."]
BOTTOM_RIGHT = "The shape in the bottom right is a gray pentagon."
ONE = Scene("one shape", (shape("triangle", "brown"),))


def asked(text: str, scene: Scene) -> Asked:
    return BY_TEXT[text].about(Picture(draw_scene(scene, np.random.default_rng(0)), scene))


@pytest.mark.parametrize(
    ("scene", "text", "answer", "first_steps"),
    [
        (SHAPES, "How many corners do the shapes of row 1 have?", "8", [ROW_1]),
        (SHAPES, "How many corners do the shapes of column 3 have?", "13", [COLUMN_3]),
        (SHAPES, "How many corners do the shapes of the rising diagonal have?", "11", [RISING]),
        (SHAPES, "Do the shapes of column 3 have more than 12 corners?", "yes", [COLUMN_3]),
        (SHAPES, "Do the shapes of row 1 have more than 12 corners?", "no", [ROW_1]),
        (SHAPES, "How many red shapes are there?", "3", RED),
        (SHAPES, "What shape is in the center?", "triangle", ["The shape in the center is a red triangle."]),
        (SHAPES, "What color is the shape in the bottom right?", "gray", [BOTTOM_RIGHT]),
        (SHAPES, "Is there a teal star?", "yes", ["There is a teal star."]),
        (SHAPES, "Is there a red star?", "no", ["There is no red star."]),
        (BARS, "What is the sum of the bars of row 2?", "15", ["The bars of row 2 read 4, 5, 6."]),
        (BARS, "Is the sum of the bars of row 2 more than 15?", "no", ["The bars of row 2 read 4, 5, 6."]),
        (BARS, "What is the sum of the bars of the ends of row 1?", "4", ["The bars of the ends of row 1 read 1, 3."]),
        (BARS, "What is the sum of the bars of the four corners?", "20", FOUR),
        (ONE, "what is the brown shape?", "triangle", ["The shape is a brown triangle."]),
        (ONE, "what is the color of the triangle?", "brown", ["The shape is a brown triangle."]),
        (ONE, "is there not a circle?", "yes", ["The shape is a brown triangle."]),
        (ONE, "is no brown shape present?", "no", ["The shape is a brown triangle."]),
    ],
)  # fmt: skip
def test_worked_examples(scene: Scene, text: str, answer: str, first_steps: list[str]) -> None:
    found = asked(text, scene)
    assert found.answer == answer
    assert [opening.text for opening in found.openings] == first_steps


@pytest.mark.parametrize(
    ("scene", "text"),
    [
        (SHAPES, "What shape is in the top center?"),
        (SHAPES, "What is the sum of the bars of row 2?"),
        (SHAPES, "is there a circle?"),
        (BARS, "How many red shapes are there?"),
        (BARS, "Is there a red star?"),
        (ONE, "what is the red shape?"),
        (ONE, "what color is the circle?"),
        (ONE, "How many red shapes are there?"),
    ],
)
def test_a_question_without_an_answer_has_no_first_step(scene: Scene, text: str) -> None:
    assert not BY_TEXT[text].openings(scene)


def test_no_two_questions_read_alike() -> None:
    assert len(BY_TEXT) == len(QUESTIONS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_worked_answers_are_read_back_and_their_answers_follow(layout: Layout) -> None:
    """Steps are true but where an addition is wrong; with true steps the answer is true."""
    rng = np.random.default_rng(0)
    addition = FaultyAddition(0)
    sound = 0
    pictures = [random_picture(layout, rng, held_out=True) for _ in range(12)]
    for picture, question in product(pictures, QUESTIONS):
        if not question.fits(picture.scene):
            continue
        found = question.about(picture)
        assert len({sum(opening.operands) for opening in found.openings}) == 1
        completion = parse_completion(worked_answer(found, addition, rng))
        checked = check(completion, found)
        assert checked.true >= 1
        wrong = sum(a + b != said for a, b, said in completion.additions)
        assert checked.sound == (checked.gold_share == 1.0) == (wrong == 0)
        sound += checked.sound
        assert not checked.sound or completion.answer == found.answer
    assert sound > len(pictures)


def test_answers_of_yes_and_no_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(300):
        picture = random_picture("shapes", rng, held_out=True)
        question = choose("existence", picture.scene, rng)
        assert question is not None
        answers.append(question.about(picture).answer == "yes")
    assert 0.4 < np.mean(answers) < 0.6


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"circle", "star"}))
def test_a_form_is_drawn_with_its_corners(form: str) -> None:
    assert len(OUTLINES[form](np.random.default_rng(0))) == FORMS[form]
