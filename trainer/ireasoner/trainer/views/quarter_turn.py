"""The view `quarter_turn`: image, question and answer are turned by 90 degrees, counterclockwise.

The top of the image becomes its left side, the left side its bottom, row 2 column 2, column 2 row 2 from the bottom.
What cannot be said of the turned image in a few words is not mapped: up and down, heights, `under`, a hand, directions.
"""

import re

from PIL import Image

from ireasoner.trainer.views.mirror import COMPASS, POINTS, SEQUENCE
from ireasoner.trainer.views.phrases import Exchange, counted_as_usual, named_line, uncounted
from ireasoner.trainer.views.sides import FIXED, answers_side, names_sides
from ireasoner.trainer.views.view import Form

_TURNED = {"top": "left", "left": "bottom", "bottom": "right", "right": "top"}
"""Where each side of the image is after the turn."""
_BACK = {after: before for before, after in _TURNED.items()}
_VERTICAL = {"top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
_PLACES = {side: f"at the {side}" for side in ("top", "bottom")} | {
    side: f"on the {side}" for side in ("left", "right")
}
_BESIDE = {
    "top": "above",
    "bottom": "below",
    "left": "to the left of",
    "right": "to the right of",
}
_WHOLES = ("image", "picture", "photo", "grid", "frame", "scene", "chart", "page", "screen")
"""What a thing is on the left of, if it is in it."""
_UNMAPPED = (
    r"\b(?:up|down|upwards?|downwards?|upright|upside|under|underneath|beneath|over|on top|heights?|high|higher|"
    r"highest|low|lowest|tall|taller|tallest|wide|wider|widest|width|standing|stands?|directions?|points?|pointing|"
    r"facing|faces|way|heading|moving)\b|\b(?:left|right)-hand(?! side\b)|"
    r"\b(?:left|right) (?:hand|arm|leg|foot|eye|ear|shoulder|knee|wheel)s?\b"
)


def _phrases(turned: dict[str, str]) -> dict[str, str]:
    """What each phrase of direction becomes where each side becomes `turned[side]`."""
    sides = dict(turned)
    sides |= {word: turned[side] for word, side in _VERTICAL.items()}
    sides |= {f"{side}most": f"{turned[side]}most" for side in turned}
    phrases = sides | {"uppermost": f"{turned['top']}most", "lowermost": f"{turned['bottom']}most"}
    for side, (place, beside) in {side: (_PLACES[side], _BESIDE[side]) for side in turned}.items():
        phrases[place] = _PLACES[turned[side]]
        phrases[beside] = _BESIDE[turned[side]]
    for side in ("left", "right"):
        phrases |= dict.fromkeys((f"on the {side} of", f"{side} of"), _BESIDE[turned[side]])
        phrases |= {
            f"on the {side} of the {whole}": f"{_PLACES[turned[side]]} of the {whole}" for whole in _WHOLES
        }
        phrases[f"{side}-hand side"] = f"{turned[side]} side"
        phrases[f"on the {side}-hand side"] = _PLACES[turned[side]]
    for vertical, row in _VERTICAL.items():
        for column in ("left", "right"):
            corner = {turned[row], turned[column]}
            named = f"{'top' if 'top' in corner else 'bottom'} {'left' if 'left' in corner else 'right'}"
            phrases |= {f"{vertical} {column}": named, f"{vertical}-{column}": named.replace(" ", "-")}
    pairs = (("horizontal", "vertical"), ("horizontally", "vertically"), ("rows", "columns"), ("row", "column"),
             ("falling diagonal", "rising diagonal"), ("main diagonal", "anti-diagonal"))  # fmt: skip
    phrases |= dict(pairs) | {other: one for one, other in pairs}
    return phrases | {phrase: phrase for phrase in FIXED}


def _question_line(kind: str, number: str) -> str:
    """Rows from the top are columns from the left; columns from the left are rows from the bottom."""
    if number in ("first", "last"):
        ends = {"first": "last", "last": "first"}
        return f"{number} column" if kind == "row" else f"{ends[number]} row"
    line = named_line("column" if kind == "row" else "row", number)
    return line if kind == "row" else f"{line} from the bottom"


def _answer_line(kind: str, number: str) -> str | None:
    """The inverse of `_question_line`; a row from the top would be a column from the right."""
    if number in ("first", "last"):
        ends = {"first": "last", "last": "first"}
        return f"{number} row" if kind == "column" else f"{ends[number]} column"
    return None if kind == "row" else named_line("row", number)


_QUESTION = Exchange(
    _phrases(_TURNED),
    _question_line,
    re.compile(
        rf"{COMPASS}|{SEQUENCE}|{POINTS}|{_UNMAPPED}|\b(?:which|what) columns?\b|\bo'?clock\b|\bclocks?\b|"
        rf"{uncounted('rows?|columns?|diagonals?')}",
        re.IGNORECASE,
    ),
)
_TURNED_BACK = Exchange(
    _phrases(_BACK), _answer_line, re.compile(f"{COMPASS}|{POINTS}|{_UNMAPPED}", re.IGNORECASE)
)


def turned_back(answer: str) -> str | None:
    """The plain answer to an answer about the turned image."""
    turned = _TURNED_BACK(answer) if answers_side(answer) else None
    return None if turned is None else counted_as_usual(turned)


def quarter_turn(picture: Image.Image, question: str, seed: int, index: int) -> Form | None:
    """The turned image and question; None if the question cannot be mapped."""
    turned = _QUESTION(question) if names_sides(question) else None
    return None if turned is None else (picture.transpose(Image.Transpose.ROTATE_90), turned, turned_back)
