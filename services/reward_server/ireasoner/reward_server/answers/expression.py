"""Formulas as trees, free of any notation."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


class NotRead(Exception):
    """The text is not a formula, or can be read in more than one way; the message says why."""


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Constant:
    """`pi`, `e`, `i` (the imaginary unit) or `infinity`."""

    name: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """An unknown, or a quantity with a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A function applied to its arguments: `add`, `mul`, `pow`, one of `FUNCTIONS`, or a function without a meaning."""

    function: str
    arguments: tuple["Expression", ...]


Expression = Number | Constant | Symbol | Apply

FUNCTIONS = frozenset(
    [
        *["sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot", "asec", "acsc"],
        *["sinh", "cosh", "tanh", "asinh", "acosh", "atanh"],
        *["log", "exp", "abs", "floor", "ceiling", "factorial", "binomial", "max", "min"],
    ]
)
"""Functions whose values are known; `log` is the natural logarithm."""

MINUS_ONE = Number(Fraction(-1))
ONE = Number(Fraction(1))


def add(*terms: Expression) -> Expression:
    """The sum of `terms`."""
    return terms[0] if len(terms) == 1 else Apply("add", terms)


def mul(*factors: Expression) -> Expression:
    """The product of `factors`."""
    return factors[0] if len(factors) == 1 else Apply("mul", factors)


def negative(term: Expression) -> Expression:
    """`-term`."""
    return Number(-term.value) if isinstance(term, Number) else mul(MINUS_ONE, term)


def quotient(top: Expression, bottom: Expression) -> Expression:
    """`top / bottom`."""
    if isinstance(top, Number) and isinstance(bottom, Number) and bottom.value:
        return Number(top.value / bottom.value)
    return mul(top, Apply("pow", (bottom, MINUS_ONE)))


def difference(one: Expression, other: Expression) -> Expression:
    """`one - other`."""
    return add(one, negative(other))


def walk(expression: Expression) -> Iterator[Expression]:
    """`expression` and everything in it."""
    yield expression
    if isinstance(expression, Apply):
        for argument in expression.arguments:
            yield from walk(argument)


def has_unknowns(expression: Expression) -> bool:
    """Whether its value depends on more than numbers."""
    return any(
        isinstance(each, Symbol)
        or (
            isinstance(each, Apply)
            and each.function not in FUNCTIONS
            and each.function not in ("add", "mul", "pow")
        )
        for each in walk(expression)
    )
