"""What a mirror, a quarter turn and another order of options do to questions, and back to answers."""

from collections.abc import Callable

import pytest
from PIL import Image

from ireasoner.trainer.views.mirror import mirror, mirrored_back
from ireasoner.trainer.views.quarter_turn import quarter_turn, turned_back
from ireasoner.trainer.views.question_views import option_order
from ireasoner.trainer.views.view import Transform

GRID = Image.new("RGB", (3, 2))
GRID.putdata([(10 * index, 0, 0) for index in range(6)])

QUESTIONS = [
    # question, in the mirror, turned; None where the view does not apply
    ("What is on the left of the tree?", "What is on the right of the tree?", "What is below the tree?"),
    ("What is to the right of the lamp?", "What is to the left of the lamp?", "What is above the lamp?"),
    (
        "What is on the left of the image?",
        "What is on the right of the image?",
        "What is at the bottom of the image?",
    ),
    ("What is on the right-hand side?", "What is on the left-hand side?", "What is at the top?"),
    ("What color is the left car?", "What color is the right car?", "What color is the bottom car?"),
    ("Left or right: which is it?", "Right or left: which is it?", "Bottom or top: which is it?"),
    (
        "Read the digits from left to right.",
        "Read the digits from right to left.",
        "Read the digits from bottom to top.",
    ),
    (
        "What is in the top left corner?",
        "What is in the top right corner?",
        "What is in the bottom left corner?",
    ),
    (
        "What is in the top-right corner?",
        "What is in the top-left corner?",
        "What is in the top-left corner?",
    ),
    ("What is in the lower right?", "What is in the lower left?", "What is in the top right?"),
    ("What is the leftmost object?", "What is the rightmost object?", "What is the bottommost object?"),
    ("What is above the cat?", "What is above the cat?", "What is to the left of the cat?"),
    ("What is below the cat?", "What is below the cat?", "What is to the right of the cat?"),
    ("Is the line horizontal?", "Is the line horizontal?", "Is the line vertical?"),
    ("What is the sum of row 2?", "What is the sum of row 2?", "What is the sum of column 2?"),
    (
        "What is the sum of column 2?",
        "What is the sum of column 2 from the right?",
        "What is the sum of row 2 from the bottom?",
    ),
    ("Sum the second row.", "Sum the second row.", "Sum the second column."),
    ("Sum the last column.", "Sum the first column.", "Sum the first row."),
    (
        "Sum the second column from the right.",
        "Sum the second column from the left.",
        "Sum the second row from the top.",
    ),
    (
        "What is in row 2, column 3?",
        "What is in row 2, column 3 from the right?",
        "What is in column 2, row 3 from the bottom?",
    ),
    ("Which row is longest?", "Which row is longest?", "Which column is longest?"),
    ("How many columns are there?", "How many columns are there?", "How many rows are there?"),
    ("Sum the falling diagonal.", *("Sum the rising diagonal.",) * 2),
    (
        "Which is the third car from the left?",
        "Which is the third car from the right?",
        "Which is the third car from the bottom?",
    ),
    ("Does it turn clockwise?", "Does it turn counterclockwise?", "Does it turn clockwise?"),
    ("Is there a right angle?",) * 3,
    ("What is next to the dog?",) * 3,
    ("What is bright about the copyright?",) * 3,
    ("What is in her left hand?", "What is in her right hand?", None),
    ("What is under the table?", "What is under the table?", None),
    ("Who is the right-handed player?", "Who is the left-handed player?", None),
    ("Which direction is up?", "Which direction is up?", None),
    ("Is he turning left?", "Is he turning right?", "Is he turning bottom?"),
    ("How many apples are left?", None, None),
    ("How many cookies does he have left?", None, None),
    ("What is left over?", None, None),
    ("Is there nothing left to do?", None, None),
    ("What is the right answer?", None, None),
    ("Is it right or wrong?", None, None),
    ("Is all right with the car?", None, None),
    ("Which is the third car?", None, None),
    ("What is the first digit in row 2?", None, None),
    ("Which column is longest?", None, None),
    ("What is north of the house?", None, None),
    ("What comes next?", None, None),
    ("What time does the clock show?", None, None),
    ("Is the point (3, 4) red?", None, None),
]

ANSWERS = [
    # answer, from the mirror, from the turned image; None where it cannot be mapped
    ("left", "right", "top"),
    ("Right.", "Left.", "Bottom."),
    ("top", "top", "right"),
    ("bottom", "bottom", "left"),
    ("on the left", "on the right", "at the top"),
    ("at the bottom", "at the bottom", "on the left"),
    ("top left", "top right", "top right"),
    ("bottom-left", "bottom-right", "top-left"),
    ("above", "above", "to the right of"),
    ("to the left of the tree", "to the right of the tree", "above the tree"),
    ("horizontal", "horizontal", "vertical"),
    ("clockwise", "counterclockwise", "clockwise"),
    ("column 2", None, "row 2"),
    ("row 2", "row 2", None),
    ("the second column", None, "the second row"),
    ("row 2 from the bottom", "row 2 from the bottom", "column 2"),
    ("column 2 from the right", "column 2", "row 2 from the bottom"),
    ("last column", "first column", "last row"),
    ("first row", "first row", "last column"),
    ("second from the left", "second from the right", "second from the top"),
    ("rising diagonal", "falling diagonal", "falling diagonal"),
    ("7", "7", "7"),
    ("1,234", "1,234", "1,234"),
    ("1 1/2", "1 1/2", "1 1/2"),
    ("a red car", "a red car", "a red car"),
    ("right angle", "right angle", "right angle"),
    ("2 left", None, None),
    ("it is right", None, None),
    ("(3, 4)", None, None),
    ("[10, 20, 30, 40]", None, None),
    ("3, 1, 4", None, None),
    ("3 1 4", None, None),
    ("north", None, None),
    ("up", "up", None),
]


@pytest.mark.parametrize(("question", "mirrored", "turned"), QUESTIONS, ids=[each[0] for each in QUESTIONS])
def test_questions_in_the_mirror_and_turned(question: str, mirrored: str | None, turned: str | None) -> None:
    assert [asked(mirror, question), asked(quarter_turn, question)] == [mirrored, turned]


@pytest.mark.parametrize(("answer", "mirrored", "turned"), ANSWERS, ids=[each[0] for each in ANSWERS])
def test_answers_are_mapped_back(answer: str, mirrored: str | None, turned: str | None) -> None:
    assert [mirrored_back(answer), turned_back(answer)] == [mirrored, turned]


@pytest.mark.parametrize("place", ["left", "right", "top", "bottom", "top left", "bottom right", "top right"])
@pytest.mark.parametrize(("view", "back"), [(mirror, mirrored_back), (quarter_turn, turned_back)])
def test_a_place_that_is_shown_and_mapped_back_is_itself(
    place: str, view: Transform, back: Callable[[str], str | None]
) -> None:
    shown = asked(view, f"What is in the {place} part of it?")
    assert shown is not None
    assert back(shown.removeprefix("What is in the ").removesuffix(" part of it?")) == place


def test_the_images_are_mirrored_and_turned_as_the_words_say() -> None:
    left = {GRID.getpixel((0, y)) for y in range(2)}
    mirrored, turned = (form[0] for form in (mirror(GRID, "?", 0, 0), quarter_turn(GRID, "?", 0, 0)) if form)
    assert {mirrored.getpixel((2, y)) for y in range(2)} == left
    assert turned.size == (2, 3)
    assert {turned.getpixel((x, 2)) for x in range(2)} == left, "the left side is the bottom"


def asked(view: Transform, question: str) -> str | None:
    form = view(GRID, question, 0, 0)
    return None if form is None else form[1]


OPTIONS = [
    ("Which? A. red B. blue", "Which? A. blue B. red"),
    ("Which?\nA. red\nB. blue", "Which?\nA. blue\nB. red"),
    ("Which?\nA. red\nB. blue\nAnswer with the letter.", "Which?\nA. blue\nB. red\nAnswer with the letter."),
    ("Which one, A) red or B) blue?", "Which one, A) blue or B) red?"),
    ("Pick (a) red, (b) blue.", "Pick (a) blue, (b) red."),
    ("Vitamin A. or what?\nA. red\nB. blue", "Vitamin A. or what?\nA. blue\nB. red"),
    ("What is it?", None),
    ("Is it A or B?", None),
    ("What is it? A. red", None),
    ("Which? A. red B. red", None),
    ("Which? A. red C. blue", None),
    ("Which? A. red B) blue", None),
    ("Which? A. red B. blue. Answer with the letter.", None),
]


@pytest.mark.parametrize(("question", "reordered"), OPTIONS, ids=[repr(each[0]) for each in OPTIONS])
def test_options_change_places_and_letters_stay(question: str, reordered: str | None) -> None:
    assert asked(option_order, question) == reordered


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("A", "B"),
        ("b", "a"),
        ("(B)", "(A)"),
        ("option a", "option b"),
        ("A. blue", "B. blue"),
        ("b) red", "a) red"),
        ("blue", "blue"),
        ("a dog", "a dog"),
        ("7", "7"),
        ("A. red", None),
        ("E", None),
    ],
)
def test_an_answer_by_letter_is_mapped_to_the_letter_that_its_option_had(
    answer: str, plain: str | None
) -> None:
    form = option_order(GRID, "Which? A. red B. blue", 0, 0)
    assert form is not None
    assert form[2] is not None
    assert form[2](answer) == plain
