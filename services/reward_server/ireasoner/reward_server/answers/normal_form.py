r"""The normal form of an expression: a quotient of two polynomials without common factors.

Its unknowns are the symbols, the constants, and every root and function as a whole (`\sin(2x)`, `\sqrt{2}`), named by
the normal forms of their arguments. Equal normal forms mean equal expressions, but for points where one of them has a
removable gap: `(x^2-1)/(x-1)` is `x+1`. The converse holds for rational functions only.
"""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from typing import Any

from sympy import QQ
from sympy.polys.fields import FracField

from ireasoner.reward_server.answers.expression import Apply, Constant, Expression, Number, Symbol

MAX_TERMS = 3_000
MAX_POWER = 200
MAX_BITS = 100_000
MAX_FACTORIAL = 5_000

Terms = tuple[tuple[tuple[tuple[str, int], ...], Fraction], ...]
"""The terms of a polynomial, each as the powers in it and its coefficient; the leading term first."""
Fractions = Any
"""An element of SymPy's field of rational functions, which has no types."""


class TooLarge(Exception):
    """Writing it out would take too much."""


@dataclass(frozen=True, slots=True)
class NormalForm:
    """Numerator and denominator, whose leading coefficient is positive."""

    top: Terms
    bottom: Terms

    def up_to_factor(self, *, positive: bool) -> "NormalForm":
        """The same for all multiples by a number that is not 0; by a positive one if `positive`."""
        if not self.top:
            return self
        top, bottom = self.top[0][1], self.bottom[0][1]
        if positive:
            top = abs(top)
        return NormalForm(_divided(self.top, top), _divided(self.bottom, bottom))

    @property
    def name(self) -> str:
        """A short name; different forms have different names."""
        written = [
            (monomial, f"{value.numerator:x}/{value.denominator:x}")  # Python refuses to write long decimals
            for monomial, value in (*self.top, ((), Fraction(0)), *self.bottom)
        ]
        return hashlib.sha256(repr(written).encode()).hexdigest()[:32]


def normal_form(expression: Expression) -> NormalForm:
    """The normal form of `expression`.

    Raises:
        TooLarge: It has more than MAX_TERMS terms, or numbers of more than MAX_BITS binary digits.
        ZeroDivisionError: It divides by 0.
    """
    atoms: dict[str, None] = {}
    tree = _over_atoms(expression, atoms)
    names = sorted(atoms) or ["1"]
    field = FracField([f"x{index}" for index in range(len(names))], QQ)
    fraction = _evaluated(tree, field, dict(zip(names, field.gens, strict=True)))
    return NormalForm(_terms(fraction.numer, names), _terms(fraction.denom, names))


def _divided(terms: Terms, by: Fraction) -> Terms:
    return tuple((monomial, value / by) for monomial, value in terms)


def _terms(polynomial: Any, names: list[str]) -> Terms:
    return tuple(
        (
            tuple((name, power) for name, power in zip(names, monomial, strict=True) if power),
            Fraction(int(value.numerator), int(value.denominator)),
        )
        for monomial, value in polynomial.terms()
    )


def _over_atoms(expression: Expression, atoms: dict[str, None]) -> Expression:
    """`expression` with each part that is not rational replaced by a symbol; collects the symbols' names."""
    if isinstance(expression, Number):
        return expression
    if isinstance(expression, Symbol | Constant):
        return _atom(f"{type(expression).__name__} {expression.name}", atoms)
    arguments = expression.arguments
    if expression.function in ("add", "mul"):
        return Apply(expression.function, tuple(_over_atoms(each, atoms) for each in arguments))
    if expression.function == "pow" and _whole(arguments[1]) is not None:
        return Apply("pow", (_over_atoms(arguments[0], atoms), arguments[1]))
    if expression.function == "factorial" and (whole := _whole(arguments[0])) is not None:
        return Number(Fraction(_factorial(whole)))
    named = ",".join(normal_form(each).name for each in arguments)
    return _atom(f"{expression.function}({named})", atoms)


def _atom(name: str, atoms: dict[str, None]) -> Symbol:
    atoms[name] = None
    return Symbol(name)


def _whole(expression: Expression) -> int | None:
    """The value of `expression` if it is written as a whole number."""
    if isinstance(expression, Number) and expression.value.denominator == 1:
        return int(expression.value)
    return None


def _factorial(number: int) -> int:
    if number < 0:
        raise ZeroDivisionError
    if number > MAX_FACTORIAL:
        raise TooLarge
    product = 1
    for factor in range(2, number + 1):
        product *= factor
    return product


def _evaluated(tree: Expression, field: FracField, atoms: dict[str, Fractions]) -> Fractions:
    if isinstance(tree, Number):
        return field(QQ(tree.value.numerator, tree.value.denominator))
    if isinstance(tree, Symbol):
        return atoms[tree.name]
    assert isinstance(tree, Apply)
    if tree.function == "pow":
        exponent = _whole(tree.arguments[1])
        assert exponent is not None
        return _power(_evaluated(tree.arguments[0], field, atoms), exponent)
    first, *others = (_evaluated(each, field, atoms) for each in tree.arguments)
    for each in others:
        first = _sum(first, each) if tree.function == "add" else _product(first, each)
    return first


def _sum(one: Fractions, other: Fractions) -> Fractions:
    _limit(len(one.numer) * len(other.denom) + len(one.denom) * len(other.numer))
    return one + other


def _product(one: Fractions, other: Fractions) -> Fractions:
    _limit(len(one.numer) * len(other.numer) + len(one.denom) * len(other.denom))
    return one * other


def _power(base: Fractions, exponent: int) -> Fractions:
    terms = max(len(base.numer), len(base.denom))
    if terms > 1 and abs(exponent) > MAX_POWER:
        raise TooLarge
    _limit(comb(abs(exponent) + terms - 1, terms - 1))
    if _bits(base) * abs(exponent) > MAX_BITS:
        raise TooLarge
    return base**exponent


def _bits(fraction: Fractions) -> int:
    values = (*fraction.numer.values(), *fraction.denom.values())
    return max(
        int(part).bit_length() - 1 for value in values for part in (value.numerator, value.denominator)
    )


def _limit(terms: int) -> None:
    if terms > MAX_TERMS:
        raise TooLarge
