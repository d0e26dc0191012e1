"""Lists, sets, intervals and vectors, and whether the order of their items counts."""

import re
from collections.abc import Callable
from typing import NamedTuple

from ireasoner.reward_server.answers.form import Form, key_of
from ireasoner.reward_server.answers.markup import closing_at
from ireasoner.reward_server.answers.matrices import matrix_key
from ireasoner.reward_server.answers.numbers import is_ambiguous_pair

MAX_ITEMS = 64

_SEPARATOR = r"\s*(?:;|,(?!(?<=\d,)\d{3}(?!\d)))\s*"  # not the comma of 1,000
_SEPARATED = re.compile(_SEPARATOR)
_CONJUNCTION = r"(?:\b(?:and|or)\b|(?<!\S)&(?!\S))"
_JOINED = re.compile(rf"(?:{_SEPARATOR}|\s*){_CONJUNCTION}\s*|{_SEPARATOR}", re.I)
_HAS_CONJUNCTION = re.compile(_CONJUNCTION, re.I)
_RESPECTIVELY = re.compile(r",?\s*(?:respectively|in that order)$", re.I)
_ORDERED = re.compile(r"(?:then|first|second|third|next|finally|last)\b", re.I)
_LETTER = re.compile(r"[(\[]?(?:[A-Za-zα-ωΑ-Ω]|[IVX]{2,5}|[ivx]{2,5})[)\].]?")
_WORDS = re.compile(r"[^\W\d_][^\W\d_'.-]*(?:[ -][^\W\d_][^\W\d_'.]*){0,3}")
_VERDICTS = """
yes no true false t f y n correct incorrect right wrong maybe unknown increase increases increased increasing decrease
decreases decreased decreasing up down left right higher lower more less above below before after greater smaller
positive negative pass fail on off open closed 是 否 对 错
"""
_SEQUENCED = frozenset(_VERDICTS.split())


class Items(NamedTuple):
    """The items of a list; `brackets` is empty if it has none, and `conjunction` is `and` or `or` if one joins them."""

    brackets: str
    items: list[str]
    conjunction: str = ""


def items_of(text: str) -> Items | None:
    """The items of `text`, at least two; None if it is no list."""
    if len(text) < 3:
        return None
    if text[0] == "<" and text[-1] == ">":
        text = f"⟨{text[1:-1]}⟩"
    if text[0] in "([{⟨" and closing_at(text, 0) == len(text) - 1:
        brackets, inside = text[0] + text[-1], text[1:-1].strip()
        items = _split(inside, _SEPARATED)
        if brackets != "()" and is_ambiguous_pair(inside):  # [100,200) can only be an interval
            items = inside.split(",")
        is_pair = brackets in ("(]", "[)") and len(items) == 2
        if not is_pair and brackets not in ("()", "[]", "{}", "⟨⟩"):
            return None
        found = Items(brackets, items)
    elif is_ambiguous_pair(text):
        return None
    else:
        conjunction = _conjunction(text)
        found = Items("", _split(text, _JOINED) if conjunction is not None else [], conjunction or "")
    return found if 2 <= len(found.items) <= MAX_ITEMS and all(found.items) else None


def _conjunction(text: str) -> str | None:
    """`and` or `or` if it joins all items, or the last of several; empty if none does.

    None if `text` is no simple list: `red and blue, green`, `Paris, France and Rome, Italy`.
    """
    words = ["and" if each == "&" else each for each in _joints(text)]
    if not any(words) or (len(set(words)) == 1 and words[0]):
        return words[0] if words else ""
    return words[-1] if words[-1] and not any(words[:-1]) else None


def list_form(text: str, read: Callable[[str], Form], rules: list[str]) -> Form | None:
    """The form of a list; None if `text` is none.

    Order and repeats count unless something shows that they do not: braces, `and` or `or`, or that all items are
    different words. Letters (`A, C, B`) and verdicts (`Yes, No`) are sequences even then. `red or blue` is not `red and
    blue`, but `2 or 3` is `2 and 3`: the solutions of an equation are written in both ways.
    """
    listed, plain = text, _RESPECTIVELY.sub("", text)
    found = items_of(plain)
    if found is None:
        return None
    forms = [read(item) for item in found.items]
    keys = [form.key for form in forms]
    are_alternatives = found.conjunction == "or" and all(map(_is_text, keys))
    if found.brackets == "{}" or (plain == listed and _is_unordered(found, keys)):
        kind = "either" if are_alternatives else "set"
        return Form(key_of(kind, *sorted(set(keys))), (*rules, "set"), text)
    if found.brackets == "[]" and (rows := _rows(found.items, read)):
        return Form(matrix_key(rows), (*rules, "matrix"), text)
    brackets = "" if found.brackets == "()" or (found.brackets == "[]" and len(keys) != 2) else found.brackets
    kind = "alternatives" if are_alternatives else f"list{brackets}"
    return Form(key_of(kind, *keys), (*rules, "list"), text)


def union_form(text: str, read: Callable[[str], Form], rules: list[str]) -> Form | None:
    r"""The form of a union, `(-\infty, 2) \cup [3, 5]`; its order does not count."""
    parts = _split(text, _UNION)
    if not 2 <= len(parts) <= MAX_ITEMS or not all(parts):
        return None
    return Form(key_of("union", *sorted({read(part).key for part in parts})), (*rules, "set"), text)


_UNION = re.compile(r"\s*\\cup(?![A-Za-z])\s*|(?<=[)\]}])\s*U\s*(?=[(\[{])")


def _is_unordered(found: Items, keys: list[str]) -> bool:
    """Whether a list without braces is a set."""
    items = found.items
    if found.brackets or len(set(keys)) < len(keys):
        return False
    if any(item.lower().strip(".!") in _SEQUENCED or _ORDERED.match(item) for item in items):
        return False
    if any(_LETTER.fullmatch(item) for item in items):
        return found.conjunction != "" and len(items) == 2
    if found.conjunction:
        return len(set(map(_is_text, keys))) == 1
    words = (item.strip("\"'*_`. ") for item in items)
    return all(map(_is_text, keys)) and all(map(_WORDS.fullmatch, words))


def _is_text(key: str) -> bool:
    return key.startswith('["text"')


def _rows(items: list[str], read: Callable[[str], Form]) -> list[list[str]] | None:
    """The keys of a matrix written as a list of lists of one length; None if it is none."""
    rows = [items_of(item) for item in items]
    if any(row is None or row.brackets != "[]" for row in rows):
        return None
    cells = [row.items for row in rows if row is not None]
    return (
        [[read(cell).key for cell in row] for row in cells] if len({len(row) for row in cells}) == 1 else None
    )


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """`text` split at separators outside brackets; empty if its brackets do not match."""
    items, start = [], 0
    for found in separator.finditer(_outside_brackets(text)):
        items.append(text[start : found.start()])
        start = found.end()
    return [item.strip() for item in [*items, text[start:]]]


def _joints(text: str) -> list[str]:
    """The conjunctions between the items of a list, in lower case; empty for a comma or semicolon alone."""
    joints = (_HAS_CONJUNCTION.search(joint.group()) for joint in _JOINED.finditer(_outside_brackets(text)))
    return [word.group().lower() if word else "" for word in joints]


def _outside_brackets(text: str) -> str:
    """`text` with what is in brackets blotted out; empty if its brackets do not match."""
    outside, depth = [], 0
    for character in text:
        depth += (character in "([{⟨") - (character in ")]}⟩")
        if depth < 0:
            return ""
        outside.append(character if depth == 0 or character in "([{⟨" else "\0")
    return "".join(outside)
