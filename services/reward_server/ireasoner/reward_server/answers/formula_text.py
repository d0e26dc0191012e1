"""Formulas: which answers are one, and how they are written in LaTeX."""

import re

from ireasoner.reward_server.answers.markup import GREEK

_FUNCTIONS = (
    "sqrt|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|pi|infty|inf|theta|alpha|beta|gamma"
)
_FUNCTION_NAME = re.compile(rf"(?<![\\A-Za-z])({_FUNCTIONS})(?![A-Za-z])")
_ARGUMENT = re.compile(r"(\\sqrt|\^)\s*\(([^()]*)\)")
_BARE_ARGUMENT = re.compile(r"√\s*(\d+|[A-Za-z]|(?=\())")
_ONE_DIGIT = re.compile(r"\\sqrt\s*(\d)(?!\d)")
_LETTERS = re.compile(
    r"[A-Za-z]{3,}|[A-Za-z][A-Z]|[A-Z][a-z]|(?<=[\w)] )[a-z]{2}|[a-z]{2}(?= [\w(])|[^\W\d_A-Za-zα-ωΑ-Ω]"
)
"""What makes a text no formula: words. Two small letters are a product: `4ac`."""
_COMMAND = re.compile(r"\\[A-Za-z]+")
_MATH = re.compile(r"[\d\w\s+\-*/^=<>≤≥().\[\]{}|!\\√∞]+")
_OPERATION = re.compile(
    r"[\w)}]\s*[\^*+<>=≤≥!]|[\\√∞πθ]|\d\s?[a-zα-ω]|[a-z]\s*[-/]\s*\d|[)}]\s*[-/]\s*[\w(\\]|\d\s*[-/]\s*[a-zα-ω(]"
    r"|\)\(|^-[a-zα-ω]$",
    re.I,
)
# 5-3 and 10/12/2020 are not formulas, but a score and a date
_INCOMPLETE = re.compile(r"[-+*/^=<>≤≥]\s*$|\^\s*\{[^{}]*[-+]\s*\}|\^\s*[-+]?$")
"""`x*`, `B+` and `K^{+}` are not formulas."""
_KNOWN_COMMAND = re.compile(
    rf"\\(?:{_FUNCTIONS}|{'|'.join(GREEK)}|frac|binom|cdot|le|ge|ne|int|sum|sinh|cosh|tanh)(?![A-Za-z])"
)
_LABEL = re.compile(r"[A-Za-z]\d|^\d+0s$|(?<![A-Za-z])[fghPFG]\s*\(|\b0[xXbo]\w")
"""`H2O`, `f(x)` and `P(A)` are not products, nor are `0x1F` and `1990s`."""
_RELATION = re.compile(r"[=<>≤≥]|\\ne(?![A-Za-z])")
_GREEK_LETTER = re.compile(f"[{''.join(GREEK.values())}]")
_GREEK_NAMES = {letter: name for name, letter in GREEK.items()}


def as_expression(text: str) -> str | None:
    """`text` in LaTeX if all of it can be read as mathematics: a formula, but also a number or variable alone."""
    named = _FUNCTION_NAME.sub(
        r"\\\1", _BARE_ARGUMENT.sub(r"\\sqrt{\1}", text).replace(r"\sqrt{}", r"\sqrt ")
    )
    commandless = _COMMAND.sub(" ", named)
    if _INCOMPLETE.search(named) or "\\" in _KNOWN_COMMAND.sub(" ", named):
        return None
    if not _MATH.fullmatch(named) or _LETTERS.search(commandless) or _LABEL.search(commandless):
        return None
    if not _is_balanced(named):
        return None
    named = _ONE_DIGIT.sub(r"\\sqrt{\1}", _ARGUMENT.sub(r"\1{\2}", named))
    named = _GREEK_LETTER.sub(lambda letter: f"\\{_GREEK_NAMES[letter[0]]} ", named)
    return named.replace("*", r"\cdot ").replace("≤", r"\le ").replace("≥", r"\ge ").replace("∞", r"\infty ")


def is_term(text: str) -> bool:
    """Whether `text` is a formula that states no relation."""
    return is_formula(text) and not _RELATION.search(text)


def unknowns(expression: str) -> set[str]:
    r"""The letters of a formula in LaTeX, without the constants e, i and \pi."""
    letters = _COMMAND.sub(lambda command: GREEK.get(command[0][1:], " "), expression)
    return {each for each in letters if each.isalpha()} - {"e", "i", "π"}


def is_formula(text: str) -> bool:
    """Whether `text`, which can be read as mathematics, has an operation, and so is not a word, score or date."""
    return _OPERATION.search(_FUNCTION_NAME.sub(r"\\\1", text)) is not None


def _is_balanced(text: str) -> bool:
    """Whether every bracket is closed by one of its kind, and every bar by another."""
    closing = {"(": ")", "[": "]", "{": "}"}
    awaited: list[str] = []
    for character in text:
        if character in closing:
            awaited.append(closing[character])
        elif character in ")]}" and (not awaited or awaited.pop() != character):
            return False
    return not awaited and text.count("|") % 2 == 0
