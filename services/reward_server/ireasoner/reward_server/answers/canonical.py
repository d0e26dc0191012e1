"""What an answer means: one canonical form for all ways to write a number, a quantity, a choice or a list.

A form depends on the answer, the config and, in two cases, on what the group's answers show together: whether letters
are options, and whether a name has to be told from another. It never depends on their order or number, and answers
with the same form are the same answer, so sameness is an equivalence relation.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ireasoner.reward_server.answers.characters import cross_products, dimensions, plain_characters
from ireasoner.reward_server.answers.choices import Choice, options_of, read_choice
from ireasoner.reward_server.answers.dates_and_times import date_or_time_form
from ireasoner.reward_server.answers.equations import Named, inequality_form, read_equation
from ireasoner.reward_server.answers.form import Form, key_of
from ireasoner.reward_server.answers.formula_text import as_expression, is_formula
from ireasoner.reward_server.answers.json_values import json_form
from ireasoner.reward_server.answers.lists import list_form, union_form
from ireasoner.reward_server.answers.markup import MAX_DEPTH, closing_at, without_fence, without_markup
from ireasoner.reward_server.answers.matrices import matrix_form, without_alignment
from ireasoner.reward_server.answers.normalise import normalise_answer
from ireasoner.reward_server.answers.numbers import infinity, is_ambiguous_pair, number
from ireasoner.reward_server.answers.punctuation import ends_in_sign
from ireasoner.reward_server.answers.quantities import (
    count_form,
    multiple_of_pi_form,
    number_form,
    quantity_form,
)
from ireasoner.reward_server.scoring_config import ScoringConfig

MAX_CHARACTERS = 500
"""Longer answers are compared as text: they are sentences, not values."""

_PHRASE = re.compile(
    r"(?:so |thus |therefore )?(?:the |my )?(?:final |correct )?answer(?: is\b| ?[:=])\s*:?\s*", re.I
)
_PAIRS = ('""', "''", "``", "**", "__", "“”", "‘’", "«»", "「」")
_EMPTY_SETS = frozenset({r"\emptyset", "{}", "{ }", "empty set", "the empty set"})
_UNENDING = re.compile(r"\.\d+\.{3}$")  # 0.333... is not 0.333
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])\s*(?=[\d.\\(√a-zA-Z$])([^+]*)")
_SPELLINGS = (
    (re.compile(r"(?<=[A-Za-z)\]])_\{(\d+)\}"), r"\1"),  # H_{2}O
    (re.compile(r"(?<=[A-Za-z)\]])\^\{(\d*[-+])\}"), r"\1"),  # Na^{+}
    (re.compile(r"_\{(\w+)\}"), r"_\1"),
    (re.compile(r"(?<=[\d)])\s?([-:]|\\pm)\s?(?=[\d(.\\])"), r"\1"),  # 5 - 10  3 : 2
    (re.compile(r",\s"), ","),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as it was read: its form by itself, and what its group may show it to be."""

    form: Form
    choice: Choice | None = None
    named: Named | None = None


def forms_of(answers: Iterable[str], config: ScoringConfig) -> dict[str, Form]:
    """The canonical form of each of a group's answers, given as written with white space folded.

    `B. Paris` is `B` if the group shows that letters are options. `x = 5` is 5 unless the group also has `y = 5`; if
    the value is a formula, unless the group has any other name or equation.
    """
    readings = {answer: _Reader(config).reading(answer) for answer in answers}
    options = options_of(each.choice for each in readings.values() if each.choice is not None)
    named = [each.named for each in readings.values() if each.named is not None]
    names_of: dict[str, set[tuple[str, ...]]] = {}
    for each in named:
        names_of.setdefault(each.value.key, set()).add(each.names)
    may_leave_out_of_formulas = len({each.names for each in named}) == 1 and not any(
        reading.form.kind == "equation" and reading.named is None for reading in readings.values()
    )

    def form(reading: Reading) -> Form:
        if reading.choice is not None and options.chosen(reading.choice):
            return _letter_form(reading.choice, reading.form)
        if reading.named is None:
            return reading.form
        value = reading.named.value
        is_compared = value.expression is not None and not value.settled
        can_leave_out = may_leave_out_of_formulas if is_compared else len(names_of[value.key]) == 1
        return value if can_leave_out else reading.form

    return {answer: form(reading) for answer, reading in readings.items()}


def form_of(answer: str, config: ScoringConfig) -> Form:
    """The canonical form of the only answer of a group."""
    return forms_of([answer], config)[answer]


def _letter_form(choice: Choice, read: Form) -> Form:
    rules = read.rules if choice.option is None else (*read.rules, "choice")
    return Form(key_of("text", choice.letter), rules, choice.letter)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads answers, and the parts of answers down to a depth."""

    config: ScoringConfig
    depth: int = 0

    def reading(self, answer: str) -> Reading:
        if len(answer) > MAX_CHARACTERS:
            normal = normalise_answer(answer)
            return Reading(Form(key_of("text", normal), (), normal))
        rules: list[str] = []
        text = answer.strip()
        inner = self._inner
        if (structured := _structured(without_fence(text), inner, rules)) is not None:
            return Reading(structured)
        text = _plain(without_alignment(without_fence(text)), rules)
        if choice := read_choice(text):
            if choice.option is None:
                rules += ["choice"] * (text.lower() != choice.letter)
                return Reading(Form(key_of("text", choice.letter), tuple(rules), choice.letter), choice)
            if self.depth > 0:
                choice = None
        if form := self._value(text, rules):
            return Reading(form, choice)
        if self.depth < MAX_DEPTH and (equation := read_equation(text, inner, rules)):
            return Reading(equation.form, choice, equation.named)
        return Reading(self._composite(text, rules) or _text_form(answer, text, rules), choice)

    def _inner(self, part: str) -> Form:
        return _Reader(self.config, self.depth + 1).reading(part).form

    def _value(self, text: str, rules: list[str]) -> Form | None:
        """The form of a date, a time, a number or a quantity."""
        if dated := date_or_time_form(text, rules):
            return dated
        notes: list[str] = []
        if (value := number(text, notes)) is not None:
            return number_form(value, text, [*rules, *notes])
        if sign := infinity(text):
            return Form(key_of("infinity", sign), (*rules, "infinity"), text.lower())
        return quantity_form(text, self.config, rules)

    def _composite(self, text: str, rules: list[str]) -> Form | None:
        """The form of a set, a list, a bracketed answer, an inequality or a number of things."""
        if text.lower() in _EMPTY_SETS:
            return Form(key_of("set"), (*rules, "set"), text)
        if self.depth >= MAX_DEPTH:
            return None
        if both := _PLUS_MINUS.fullmatch(text):
            keys = sorted(self._inner(f"{sign}{both[1]}").key for sign in ("", "-"))
            return Form(key_of("set", *keys), (*rules, "set"), text)
        return (
            list_form(text, self._inner, rules)
            or union_form(text, self._inner, rules)
            or self._unwrapped(text, rules)
            or inequality_form(text, rules)
            or multiple_of_pi_form(text, rules)
            or count_form(text, rules)
        )

    def _unwrapped(self, text: str, rules: list[str]) -> Form | None:
        """The form of an answer in brackets: `(-5)`, `[7]`."""
        if len(text) < 3 or text[0] not in "([{" or closing_at(text, 0) != len(text) - 1:
            return None
        if text[-1] != {"(": ")", "[": "]", "{": "}"}[text[0]] or is_ambiguous_pair(text[1:-1].strip()):
            return None  # (100,200): one number, or two
        inside = self._inner(text[1:-1])
        if text[0] == "{" and self.depth > 0:  # {{1}, {2}} is not {1, 2}
            return Form(key_of("set", inside.key), (*rules, "set"), text)
        return replace(inside, rules=(*rules, "brackets", *inside.rules))


def _structured(text: str, read: Callable[[str], Form], rules: list[str]) -> Form | None:
    return json_form(text, read, rules) or matrix_form(text.strip("$ "), read, rules)


def _plain(text: str, rules: list[str]) -> str:
    """`text` in plain characters, without markup, an introduction, and what surrounds it."""
    text = dimensions(text) or cross_products(text)
    for rule, change in (
        ("unicode", plain_characters),
        ("latex", without_markup),
        ("phrase", _without_phrase),
    ):
        changed = change(text)
        rules += [rule] * (changed != text)
        text = changed
    return _trimmed(text)


def _without_phrase(text: str) -> str:
    phrase = _PHRASE.match(text)
    return without_markup(text[phrase.end() :]) if phrase else text


def _trimmed(text: str) -> str:
    """`text` without quotes, emphasis and closing punctuation; a sign that means something stays."""
    whole, before = text, None
    while text and text != before:
        before = text = text.strip()
        if len(text) > 2 and text[0] + text[-1] in _PAIRS and text[0] not in text[1:-1]:
            text = text[1:-1]
        elif text and text[-1] in ".,;:?。" and not _UNENDING.search(text):
            text = text[:-1]
        elif (
            text
            and text[-1] in "!！*_\"'`"
            and not ends_in_sign(text, len(text))
            and text.count(text[-1]) % 2
        ):
            text = text.rstrip(text[-1])
    return text or whole


def _text_form(answer: str, text: str, rules: list[str]) -> Form:
    latex = as_expression(text) if is_formula(text) else None
    if latex is not None:
        return Form(key_of("formula", "".join(latex.split())), tuple(rules), text, latex)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    plain = normalise_answer(text) or normalise_answer(answer) or text.lower()
    return Form(key_of("text", plain), tuple(rules), plain)
