"""The normalised text of an answer."""

import re
import unicodedata

# 1,234 and 12,345,678 on their own; any other comma is a decimal comma or separates a list.
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
# A sign or a decimal point in front of a number belongs to the number.
_SIGNED = re.compile(r"[-\u2013\u2014]?\.?\d")
_MEANINGFUL = frozenset("%‰")


def normalise_answer(answer: str) -> str:
    """The form in which answers are compared as text; empty if nothing is left, which is not an answer.

    Lower-cases, folds white space, and drops thousands separators and outer punctuation. What changes a value is kept:
    `-5` is not `5`, `.5` is not `5`, `1,5` is not `15`, `5%` is not `5`.
    """
    if answer.isascii() and answer.isalnum():
        return answer.lower()  # most answers need no folding
    folded = " ".join(answer.lower().split())
    folded = _THOUSANDS.sub(lambda number: number.group().replace(",", ""), folded)
    return _without_outer_punctuation(folded)


def _without_outer_punctuation(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _drops(text[start]) and not _SIGNED.match(text, start):
        start += 1
    while end > start and _drops(text[end - 1]):
        end -= 1
    return text[start:end]


def _drops(character: str) -> bool:
    if character in _MEANINGFUL:
        return False
    return character.isspace() or unicodedata.category(character).startswith("P")
