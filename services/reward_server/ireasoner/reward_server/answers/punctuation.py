"""Punctuation around an answer, told apart from signs that belong to it."""

import re
import unicodedata

_SIGNED = re.compile(r"[-\u2013\u2014]?\.?\d|[-\u2013](?=[^\W\d_]|[\\(√$€£¥])|[!&@](?=\w)")
"""A sign or a decimal point that belongs to what follows it."""
_ALWAYS = frozenset("%‰†‡")
_AFTER_ANY = frozenset("-–#′'’")  # A-  C#  A'
_EMPHASIS = frozenset("*_")
_LAST_WORD = re.compile(r"\\?[^\W\d_]+\Z")
_MAX_COMMAND = 16
_QUOTES = frozenset("\"'’”′″")


def without_outer_punctuation(text: str) -> str:
    """`text` without the punctuation around it; empty if nothing else is left.

    What has a meaning stays: `-5`, `-x`, `.5`, `5%`, `5!`, `A-`, `C#`, `f'`, `5"`, `x*`, `foo()`.
    """
    start, end = 0, len(text)
    while start < end and _is_punctuation(text[start]) and not _SIGNED.match(text, start):
        start += 1
    while end > start and _is_punctuation(text[end - 1]) and not ends_in_sign(text, end):
        end = max(start, before_run(text, end))
    return text[start:end]


def before_run(text: str, end: int) -> int:
    """Where the run of equal characters that ends at `end` begins."""
    character = text[end - 1]
    while end > 0 and text[end - 1] == character:
        end -= 1
    return end


def ends_in_sign(text: str, end: int) -> bool:
    """Whether the character before `end` is a sign of what it follows, and not punctuation, a quote or emphasis."""
    sign = text[end - 1]
    if sign in _ALWAYS:
        return True
    if end == 1:
        return False
    before = text[end - 2]
    if sign in ")]":  # foo()
        return before == {")": "(", "]": "["}[sign] and text[end - 3 : end - 2].isalnum()
    if sign in "!！":
        return _is_factorial(text, end)
    if not (before.isalnum() or before in ")]}'’′#" or (before == sign and sign not in "*_")):
        return False
    if sign in _QUOTES and text[0] in "\"'‘’“”" and (sign == text[0] or text[0] in "‘“"):
        return False
    if sign in '"”″':
        return before.isdigit() or sign == "″"
    if sign in _EMPHASIS:
        return sign not in text[: end - 1] and before not in "'’′"
    return sign in _AFTER_ANY


def _is_factorial(text: str, end: int) -> bool:
    """`5!` and `n!` are factorials, `Yes!` and `No!` are exclamations."""
    end = before_run(text, end)
    if end == 0:
        return False
    before = text[end - 1]
    if before.isdigit() or before in ")]}":
        return True
    is_variable = before.isascii() or "Ͱ" <= before <= "Ͽ"
    word = _LAST_WORD.search(text, max(0, end - _MAX_COMMAND), end)
    return is_variable and word is not None and (len(word.group()) == 1 or word.group()[0] == "\\")


def _is_punctuation(character: str) -> bool:
    return character.isspace() or unicodedata.category(character).startswith("P")
