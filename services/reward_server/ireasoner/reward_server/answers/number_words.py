"""The exact values of numbers in English words: `minus twenty-one`, `two thirds`, `three point one four`."""

import re
from fractions import Fraction

_UNITS = "zero one two three four five six seven eight nine"
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_ROUND = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES = {word: value for value, word in enumerate(f"{_UNITS} {_TEENS}".split())}
_TENS = {word: 10 * value for value, word in enumerate(_ROUND.split(), start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
    "hundredth": 100,
    "thousandth": 1000,
}
_HYPHEN = re.compile(r"(?<=[a-z])-(?=[a-z])")
MAX_WORDS = 24


def number_in_words(text: str) -> Fraction | None:
    """The value of `text`, which is lower case, if the whole of it is one number in words; else None.

    Ordinals alone are not numbers (`third` may be a rank), nor are digits one by one (`two three`).
    """
    words = _HYPHEN.sub(" ", text).split()
    if not words or len(words) > MAX_WORDS:
        return None
    if words[0] in ("minus", "negative"):
        value = _unsigned(words[1:])
        return None if value is None else -value
    return _unsigned(words)


def _unsigned(words: list[str]) -> Fraction | None:
    for start in (-1, -2, -3):
        # "five and a half", "two and three quarters": a whole number, "and", a fraction
        if len(words) > 1 - start and words[start - 1] == "and":
            whole, part = _whole(words[: start - 1]), _fraction(words[start:])
            if whole is not None and part is not None:
                return whole + part
    return next((value for read in (_fraction, _decimal, _whole) if (value := read(words)) is not None), None)


def _fraction(words: list[str]) -> Fraction | None:
    """`half`, `a quarter`, `two thirds`."""
    if not words:
        return None
    last = words[-1]
    parts = _PARTS.get(last) or _PARTS.get(last.removesuffix("s"))
    if parts is None:
        return None
    if len(words) == 1:
        return Fraction(1, 2) if last == "half" else None
    count = Fraction(1) if words[:-1] == ["a"] else _whole(words[:-1])
    return None if count is None else count / parts


def _decimal(words: list[str]) -> Fraction | None:
    """`three point one four`."""
    if "point" not in words:
        return None
    point = words.index("point")
    whole = Fraction(0) if point == 0 else _whole(words[:point])
    digits = [_ONES.get(word, 10) for word in words[point + 1 :]]
    if whole is None or not digits or max(digits) > 9:
        return None
    return whole + Fraction(int("".join(map(str, digits))), 10 ** len(digits))


def _whole(words: list[str]) -> Fraction | None:
    """`a dozen`, `one hundred and five`, `two million three hundred`."""
    if words[-1:] == ["dozen"]:
        dozens = _whole(words[:-1]) if words[:-1] not in ([], ["a"]) else Fraction(1)
        return None if dozens is None else 12 * dozens
    if len(words) == 1 and words[0].isascii() and words[0].isdecimal():  # "5 and a half"
        return Fraction(int(words[0]))
    if words[:1] == ["a"]:
        words = ["one", *words[1:]]
        if words[1:2] not in (["hundred"], *([scale] for scale in _SCALES)):
            return None
    total, below, largest = 0, words, 10**15
    while below:
        scale_at = next((index for index, word in enumerate(below) if word in _SCALES), None)
        scale = 1 if scale_at is None else _SCALES[below[scale_at]]
        count = _below_thousand(below if scale_at is None else below[:scale_at])
        if count is None or scale >= largest:
            return None
        total += count * scale
        largest = scale
        below = [] if scale_at is None else below[scale_at + 1 :]
    return Fraction(total) if words else None


def _below_thousand(words: list[str]) -> int | None:
    if words[:1] == ["and"] and len(words) > 1:  # "two thousand and five"
        words = words[1:]
    if "hundred" not in words:
        return _below_hundred(words)
    hundred = words.index("hundred")
    hundreds, rest = _below_hundred(words[:hundred]), words[hundred + 1 :]
    if hundreds is None or not 0 < hundreds < 100:
        return None
    if rest[:1] == ["and"]:
        rest = rest[1:] or ["and"]
    below = _below_hundred(rest) if rest else 0
    return None if below is None else 100 * hundreds + below


def _below_hundred(words: list[str]) -> int | None:
    match words:
        case [one] if one in _ONES:
            return _ONES[one]
        case [ten] if ten in _TENS:
            return _TENS[ten]
        case [ten, one] if ten in _TENS and 0 < _ONES.get(one, 0) < 10:
            return _TENS[ten] + _ONES[one]
    return None
