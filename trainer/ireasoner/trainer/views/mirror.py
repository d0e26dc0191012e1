"""The view `mirror`: left and right are exchanged, in the image, in the question, and back in the answer.

Questions and answers whose meaning in the mirror is not sure are not mapped: `how many are left`, `the third car`,
`which column`, points of the compass. Text is mirrored with the image: the view is not for images with questions about
text.
"""

import re

from PIL import Image, ImageOps

from ireasoner.trainer.views.phrases import Exchange, counted_as_usual, named_line, uncounted
from ireasoner.trainer.views.sides import FIXED, answers_side, names_sides
from ireasoner.trainer.views.view import Form

_PAIRS = (
    ("left", "right"),
    ("leftmost", "rightmost"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    ("clockwise", "counterclockwise"),
    ("falling diagonal", "rising diagonal"),
    ("main diagonal", "anti-diagonal"),
)
_PHRASES = (
    dict(_PAIRS)
    | {other: one for one, other in _PAIRS}
    | {"anticlockwise": "clockwise", "counter-clockwise": "clockwise"}
    | dict(zip(FIXED, FIXED, strict=True))
)
COMPASS = r"\b(?:north|south|east|west)(?:\w*)\b"
SEQUENCE = r"\b(?:before|after|previous|preceding|following|next(?! to))\b"
"""Words for an order whose direction is not named."""
POINTS = r"[(\[{]\s*-?\d[\d.]*\s*,|\d\s*[,;]\s+-?\d|\d\s+-?\d+(?![\d/])"
"""The coordinates of a point or of a box; several numbers in the order in which they were read."""


def _question_line(kind: str, number: str) -> str:
    """Rows stay; columns from the left are columns from the right."""
    if kind == "row":
        return named_line(kind, number)
    if number in ("first", "last"):
        return "last column" if number == "first" else "first column"
    return f"{named_line(kind, number)} from the right"


def _answer_line(kind: str, number: str) -> str | None:
    """The inverse of `_question_line`; a column from the left would be one from the right."""
    is_end = number in ("first", "last")
    return _question_line(kind, number) if kind == "row" or is_end else None


_QUESTION = Exchange(
    _PHRASES,
    _question_line,
    re.compile(
        rf"{COMPASS}|{SEQUENCE}|{POINTS}|\b(?:which|what) columns?\b|\bo'?clock\b|\bclocks?\b|"
        rf"{uncounted('rows?|columns?|diagonals?')}",
        re.IGNORECASE,
    ),
)
_EXCHANGED_BACK = Exchange(_PHRASES, _answer_line, re.compile(f"{COMPASS}|{POINTS}", re.IGNORECASE))


def mirrored_back(answer: str) -> str | None:
    """The plain answer to an answer in the mirror."""
    exchanged = _EXCHANGED_BACK(answer) if answers_side(answer) else None
    return None if exchanged is None else counted_as_usual(exchanged)


def mirror(picture: Image.Image, question: str, seed: int, index: int) -> Form | None:
    """The mirror image, and the question with left and right exchanged; None if the question cannot be mapped."""
    exchanged = _QUESTION(question) if names_sides(question) else None
    return None if exchanged is None else (ImageOps.mirror(picture), exchanged, mirrored_back)
