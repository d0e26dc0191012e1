"""Equations: a name with its value, a calculation with its result, or a relation of unknowns."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ireasoner.reward_server.answers.form import Form, key_of
from ireasoner.reward_server.answers.formula_text import as_expression, unknowns
from ireasoner.reward_server.answers.lists import items_of

_VARIABLE = r"[A-Za-zα-ωΑ-Ω](?:_\{[^{}]{1,16}\}|_\w)?'*"
_ARGUMENTS = r"\([^()]{1,24}\)"
_NAME = re.compile(
    rf"""(?P<variable>{_VARIABLE})
      | [A-Za-z](?:_\{{[^{{}}]{{1,16}}\}})?'*\s?{_ARGUMENTS} | \\mathbb\{{[A-Z]\}}{_ARGUMENTS}  # f(x)  P(A|B)
      | m?\s?\\angle\s?\{{?[A-Za-z0-9]{{1,4}}\}}?                                        # m\angle ABC
      | \\(?:overline|vec|(?:wide)?hat|bar|over(?:left)?rightarrow|triangle|mathcal)\s?\{{?[A-Za-z]{{1,3}}\}}?
      | \|?[A-Z]{{2,3}}\|? | \\frac\{{d\w?\}}\{{d\w\}} | d\w/d\w
      | (?:the\s)?[A-Za-z]{{2,}}(?:[\s_-][A-Za-z0-9]{{2,}}|\s[A-Za-z]){{0,5}}               # total cost
    """,
    re.X,
)
_PRODUCT = re.compile(r"[a-z]{2}|(?!max)[a-df-hj-np-tv-z]{3}")
"""`xy = 6` and `abc = 6` are equations; `sum = 6` is not."""
_NAMES = re.compile(rf"\(\s*{_VARIABLE}(?:\s*,\s*{_VARIABLE})+\s*\)")
_NO_EQUATION = re.compile(r"==|[<>:]=|=>")
_MEMBER = re.compile(rf"({_VARIABLE})\s*\\in(?![A-Za-z])\s*(.+)")
_RELATION = re.compile(r"\s*(≤|≥|<|>|\\ne(?![A-Za-z]))\s*")
_REVERSED = {"≥": "≤", ">": "<"}


class Named(NamedTuple):
    """What is left of an equation without its names: `x = 5` is 5, `x = 2, y = 3` is `(2, 3)`."""

    names: tuple[str, ...]
    value: Form


class Equation(NamedTuple):
    """The form of an equation, and its value if it has a name that can be left out."""

    form: Form
    named: Named | None = None


def read_equation(text: str, read: Callable[[str], Form], rules: list[str]) -> Equation | None:
    """Reads an equation, a list of them, or `x \\in S`; None if `text` is none."""
    if member := _MEMBER.fullmatch(text):
        return _assigned([(f"{member[1]} in", read(member[2]))], text, rules)
    if "=" not in text or _NO_EQUATION.search(text):
        return None
    if (several := items_of(text)) and all(
        len(_sides(item)) > 1 for item in (several.items[0], several.items[-1])
    ):
        return _system(several.items, text, read, rules)
    sides = _sides(text)
    return _single(sides, text, read, rules) if len(sides) > 1 and all(sides) else None


def inequality_form(text: str, rules: list[str]) -> Form | None:
    """The form of `x > 2`, or of a chain `1 < x ≤ 3`, which may also be written backwards."""
    parts = _RELATION.split(text)
    sides, signs = parts[::2], parts[1::2]
    if not signs or not all(sides):
        return None
    expressions = [as_expression(side) for side in sides]
    if all(sign in _REVERSED for sign in signs):
        sides, signs = sides[::-1], [_REVERSED[sign] for sign in reversed(signs)]
    key = key_of(
        "inequality",
        *(part.replace(" ", "") for pair in zip(sides, [*signs, ""], strict=True) for part in pair),
    )
    is_single = len(signs) == 1 and None not in expressions
    return Form(key, tuple(rules), text, as_expression(text) if is_single else None, kind="inequality")


def _system(items: list[str], text: str, read: Callable[[str], Form], rules: list[str]) -> Equation:
    """Several equations: values of different names, or several values of one."""
    found = [
        _single(sides, item, read, []) if len(sides := _sides(item)) > 1 and all(sides) else None
        for item in items
    ]
    named = [each.named for each in found if each and each.named and len(each.named.names) == 1]
    names = [each.names[0] for each in named]
    if len(named) == len(items) and len(set(names)) == len(names):
        return _assigned([(each.names[0], each.value) for each in named], text, rules)
    if len(named) == len(items) and len(set(names)) == 1:
        keys = sorted({each.value.key for each in named})
        return _assigned([(names[0], Form(key_of("set", *keys), (*rules, "set"), text))], text, rules)
    if all(each and not each.named for each in found):
        keys = sorted(each.form.key for each in found if each)
        return Equation(Form(key_of("system", *keys), tuple(rules), text))
    return Equation(Form(key_of("equations", _compact(text)), tuple(rules), text))


def _single(sides: list[str], text: str, read: Callable[[str], Form], rules: list[str]) -> Equation:
    first, *middle, last = sides
    names = [name for side in sides if (name := _name(side))]
    if _NAMES.fullmatch(first) and not middle and (tuples := _by_component(first, last, read)):
        return _assigned(tuples, text, rules)
    if (name := _name(last)) and not _name(first) and not middle and not _letters(first):
        first, last = last, first
    if (name := _name(first)) and all(_name(side) or not _letters(side) for side in middle):
        value = read(last)
        if _NAME.fullmatch(first)["variable"] and _has_unknowns(value, last):  # type: ignore[index]
            is_solved = len(last) > 1 and name[0] not in unknowns(value.expression or "")
            named = Named((name,), value) if is_solved else None
            return Equation(_equation(sides, text, rules), named)
        same = dict.fromkeys([name, *(each for side in middle if (each := _name(side)))])
        return _assigned([(each, value) for each in same], text, rules)
    if not names and all(not _letters(side) and as_expression(side) for side in sides[:-1]):
        result = read(last)
        return Equation(replace(result, rules=(*rules, "calculation", *result.rules)))
    return Equation(_equation(sides, text, rules))


def _equation(sides: list[str], text: str, rules: list[str]) -> Form:
    expressions = [as_expression(side) for side in sides]
    known = [each for each in expressions if each is not None]
    expression = "=".join(known) if len(known) == len(sides) == 2 else None
    return Form(key_of("equation", _compact(text)), tuple(rules), text, expression, kind="equation")


def _assigned(values: list[tuple[str, Form]], text: str, rules: list[str]) -> Equation:
    """Names with their values, in the order of the names."""
    values = sorted(values, key=lambda each: each[0])
    names = tuple(name for name, _ in values)
    pairs = [part for name, value in values for part in (name, value.key)]
    form = Form(key_of("assignment", *pairs), tuple(rules), text)
    if len(values) == 1:
        value = values[0][1]
        bare = replace(value, rules=(*rules, "assignment", *value.rules))
    else:
        bare = Form(key_of("list", *(value.key for _, value in values)), (*rules, "assignment"), text)
    return Equation(form, Named(names, bare))


def _by_component(names: str, values: str, read: Callable[[str], Form]) -> list[tuple[str, Form]] | None:
    """`(x, y) = (2, 3)` as x = 2 and y = 3."""
    left, right = items_of(names), items_of(values)
    if left is None or right is None or right.brackets != "()" or len(left.items) != len(right.items):
        return None
    return [(_compact(name), read(value)) for name, value in zip(left.items, right.items, strict=True)]


def _name(side: str) -> str | None:
    """The name that a side is, in one spelling; None if it is none."""
    if not _NAME.fullmatch(side) or _PRODUCT.fullmatch(side) or side in ("e", "i", "π"):
        return None
    if "\\" not in side and re.search(r"[A-Za-z]{4}", side):
        return " ".join(side.lower().removeprefix("the ").split())
    return _compact(side).replace("m\\angle", "\\angle")


def _letters(side: str) -> set[str]:
    expression = as_expression(side)
    return unknowns(expression) if expression is not None else {side}


def _has_unknowns(value: Form, written: str) -> bool:
    if len(written) == 1:
        return written.isascii() and written.islower() and written not in "ei"
    return value.kind == "value" and not value.settled and bool(unknowns(value.expression or ""))


def _sides(text: str) -> list[str]:
    """What the equals signs outside brackets separate."""
    sides, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "=" and depth == 0:
            sides.append(text[start:index].strip())
            start = index + 1
    return [*sides, text[start:].strip()]


def _compact(text: str) -> str:
    return "".join(text.split())
