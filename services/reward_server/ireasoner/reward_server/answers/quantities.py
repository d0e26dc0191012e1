"""Amounts: numbers and formulas with a unit, and counted things."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from ireasoner.reward_server.answers.form import Form, key_of
from ireasoner.reward_server.answers.formula_text import as_expression, is_term, unknowns
from ireasoner.reward_server.answers.normalise import normalise_answer
from ireasoner.reward_server.answers.numbers import latex_of, number
from ireasoner.reward_server.answers.units import LEADING, Unit, unit
from ireasoner.reward_server.scoring_config import ScoringConfig

_UNIT_STARTS = re.compile(rf"(?<![A-Za-z\\])[^\W\d_]|[°%‰{LEADING}]|(?<=\d)\s*/(?=\s*[A-Za-z])")
_LEADING = re.compile(rf"([+-]?)\s*(US)?([{LEADING}])\s*([+-]?)\s*(.+)", re.I)
_CODE = re.compile(r"(usd|eur|gbp|jpy|inr|cny|rmb|krw|rub|us\$)\s*(.+)", re.I)
_MONEY_SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "mm": "million", "mil": "million", "b": "billion",
    "bn": "billion", "t": "trillion", "tn": "trillion",
}  # fmt: skip
_MONEY = re.compile(rf"([\d.,]+)\s*({'|'.join(_MONEY_SCALES)})\b(.*)", re.I)
_DECADE = re.compile(r"1\d\d0s|20\d0s")
_NOUN = re.compile(r"(?!(?:[a-zA-Zα-ωΑ-Ω]|pi)\b)[^\W\d_][^\W\d_'-]*(?:[ -][^\W\d_][^\W\d_']*){0,3}\.?")
_MULTIPLE_OF_PI = re.compile(r"(?P<factor>.*[\d})])(?P<gap>\s*)(?:π|pi)")
_SUM = re.compile(r"(?<=.)[+-]")
_ORDINAL = re.compile(r"\d(?:st|nd|rd|th)$", re.I)
_SYMBOL_CHARACTERS = 3
_MAX_READINGS = 24


def number_form(value: Fraction, text: str, rules: list[str]) -> Form:
    """The form of a plain number."""
    name = text if "\\" in text else normalise_answer(text)
    return Form(key_of("number", str(value)), tuple(rules), name, latex_of(value), settled=True)


def quantity_form(text: str, config: ScoringConfig, rules: list[str]) -> Form | None:
    """The form of a number or formula with a known unit; None if `text` is none."""
    for amount, found in _readings(text):
        notes: list[str] = []
        value = number(amount, notes)
        expression = _constant(amount) if value is None else None
        if value is not None or expression is not None:
            return _with_unit(value, expression, found, text, config, [*rules, *notes])
    return None


def multiple_of_pi_form(text: str, rules: list[str]) -> Form | None:
    """The form of a number times π: `2π`, `1.5 pi`, `1/2 π`; None if `text` is none. `1/2π` may also be 1/(2π)."""
    found = _MULTIPLE_OF_PI.fullmatch(text)
    if found is None or ("/" in found["factor"] and not found["gap"]):
        return None
    notes: list[str] = []
    factor = number(found["factor"], notes)
    if factor is None:
        return None
    expression = f"{latex_of(factor)}\\pi"
    return Form(key_of("formula", expression), (*rules, *notes), text, expression)


def count_form(text: str, rules: list[str]) -> Form | None:
    """The form of a number of things: `3 dogs`, `three dogs`. What is counted is a part of it."""
    for start in reversed(_starts(text)):
        noun = text[start:].strip()
        if not _NOUN.fullmatch(noun) or _ORDINAL.search(text[: start + 2]):
            continue
        notes: list[str] = []
        value = number(text[:start], notes)
        if value is not None:
            words = [each if len(each) <= _SYMBOL_CHARACTERS and len(noun) == len(each) else each.lower()
                     for each in noun.rstrip(".").split()]  # fmt: skip
            return Form(key_of("count", str(value), *words), (*rules, *notes), normalise_answer(text))
    return None


def _with_unit(
    value: Fraction | None,
    expression: str | None,
    found: Unit,
    text: str,
    config: ScoringConfig,
    rules: list[str],
) -> Form:
    size = found.size
    if found.dimension == "percent":
        rules.append("percent")
        size, is_plain = size / 100, config.percent == "fraction"
    else:
        rules.append("unit")
        size, is_plain = (Fraction(1), True) if config.units == "ignored" else (size, False)
    if value is not None and is_plain:
        return number_form(value * size, text, rules)
    scaled = latex_of(value * size) if value is not None else _scaled(str(expression), size)
    key = str(value * size) if value is not None else f"{size} {''.join(str(expression).split())}"
    if is_plain:
        return Form(key_of("formula", scaled), tuple(rules), text, scaled)
    kind = f"quantity {found.dimension}"
    return Form(key_of(kind, key), tuple(rules), text, scaled, settled=value is not None, kind=kind)


def _constant(amount: str) -> str | None:
    """A formula without unknowns or sums, such as `2\\sqrt{3}`, in LaTeX: `2x + 3m` and `5 + 3m` have no unit."""
    if not is_term(amount) or _SUM.search(re.sub(r"\([^()]*\)|\{[^{}]*\}", "", amount)):
        return None
    expression = as_expression(amount)
    return None if expression is None or unknowns(expression) else expression


def _scaled(expression: str, size: Fraction) -> str:
    return expression if size == 1 else f"{latex_of(size)} \\cdot ({expression})"


class _Reading(NamedTuple):
    amount: str
    unit: Unit


def _readings(text: str) -> Iterator[_Reading]:
    """The ways to read `text` as an amount and a known unit."""
    text = _unit_last(text)
    if _DECADE.fullmatch(text):
        return
    for start in _starts(text):
        name, amount = text[start:].strip(), text[:start].strip().removesuffix("*").strip()
        if amount and (found := unit(name)) is not None:
            yield _Reading(amount, found)


def _starts(text: str) -> list[int]:
    return [start.start() for start in _UNIT_STARTS.finditer(text)][:_MAX_READINGS]


def _unit_last(text: str) -> str:
    """`$5 per day` as `5 $ per day`, `$1.5B` as `1.5 billion $`; other text as it is."""
    if leading := _LEADING.fullmatch(text):
        sign, currency, rest = leading[1] or leading[4], leading[3], leading[5]
    elif code := _CODE.fullmatch(text):
        sign, currency, rest = "", code[1], code[2]
    else:
        return text
    if money := _MONEY.fullmatch(rest):
        rest = f"{money[1]} {_MONEY_SCALES[money[2].lower()]}{money[3]}"
    amount = re.match(
        r"[\d.,]*(?:\s*(?:hundred|thousand|million|billion|trillion|lakh|crore)\b)?", rest, re.I
    )
    end = amount.end() if amount else 0
    if end == 0 or not any(each.isdigit() for each in rest[:end]):
        return f"{sign}{rest} {currency}"
    return f"{sign}{rest[:end].strip()} {currency} {rest[end:].strip()}".strip()
