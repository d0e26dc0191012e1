"""Whether an expression is 0 everywhere, proven with SymPy.

SymPy may take for ever: the caller bounds its time.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import mpmath
import sympy
from sympy.functions.elementary.hyperbolic import HyperbolicFunction
from sympy.functions.elementary.trigonometric import InverseTrigonometricFunction, TrigonometricFunction

from ireasoner.reward_server.answers.expression import FUNCTIONS, Constant, Expression, Number, Symbol
from ireasoner.reward_server.answers.normal_form import MAX_BITS, MAX_FACTORIAL, TooLarge

MAX_DENOMINATOR = 10**6
MAX_SIGNED = 3
"""Most unknowns whose signs are told apart."""
Formula = Any
"""An expression of SymPy, which has no types."""


def is_zero(formula: Formula) -> bool:
    """Whether SymPy can show that `formula` is 0 for all real values of its unknowns, except where one of them is 0."""
    if any(simpler == 0 for simpler in _simplified(formula)):
        return True
    unknowns = sorted(formula.free_symbols, key=str)
    if formula.has(sympy.Abs, sympy.sign) and 0 < len(unknowns) <= MAX_SIGNED:
        return all(any(simpler == 0 for simpler in _simplified(case)) for case in _by_sign(formula, unknowns))
    return formula.equals(0) is True


def _by_sign(formula: Formula, unknowns: Sequence[Formula]) -> Iterator[Formula]:
    """`formula` for each choice of signs of its unknowns."""
    sizes = [sympy.Dummy(positive=True) for _ in unknowns]
    for signs in product((1, -1), repeat=len(unknowns)):
        signed = (sign * size for sign, size in zip(signs, sizes, strict=True))
        yield formula.subs(dict(zip(unknowns, signed, strict=True)))


def _simplified(formula: Formula) -> Iterator[Formula]:
    """`formula` in ever simpler forms, the cheapest ways first."""
    yield formula
    expanded = sympy.expand(formula)
    yield expanded
    numerator = sympy.expand(sympy.numer(sympy.together(expanded)))
    yield numerator
    if formula.has(sympy.log):
        yield sympy.expand(sympy.expand_log(numerator))
    if formula.has(sympy.factorial, sympy.binomial):
        yield sympy.expand(sympy.expand_func(sympy.gammasimp(formula)))
    if formula.has(TrigonometricFunction, HyperbolicFunction):
        exponential = sympy.together(formula.rewrite(sympy.exp).expand())
        yield sympy.expand(sympy.numer(exponential), power_exp=True)
    if formula.is_number and formula.has(InverseTrigonometricFunction) and abs(formula.evalf()) < 1:
        yield sympy.simplify(
            sympy.expand_trig(sympy.sin(formula))
        )  # 0 only if the angle, which is small, is 0
    if formula.is_number and formula.is_algebraic:
        yield sympy.radsimp(sympy.sqrtdenest(formula))
    if formula.has(sympy.Max, sympy.Min):
        yield sympy.expand(formula.rewrite(sympy.Abs))
    yield sympy.factor(formula, deep=True)
    yield sympy.simplify(formula)


def to_sympy(expression: Expression) -> Formula:
    """`expression` in SymPy, with real unknowns. Raises TooLarge."""
    if isinstance(expression, Number):
        return sympy.Rational(expression.value.numerator, expression.value.denominator)
    if isinstance(expression, Constant):
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infinity": sympy.oo}[expression.name]
    if isinstance(expression, Symbol):
        return sympy.Symbol(expression.name, real=True)
    arguments = [to_sympy(each) for each in expression.arguments]
    function = expression.function
    if function == "pow":
        return _power(*arguments)
    if function in ("factorial", "binomial") and any(
        each.is_number and each > MAX_FACTORIAL for each in arguments
    ):
        raise TooLarge
    if function not in FUNCTIONS and function not in _NAMES:
        return sympy.Function(function, real=True)(*arguments)
    return (_NAMES.get(function) or getattr(sympy, function))(*arguments)


def _power(base: Formula, exponent: Formula) -> Formula:
    if base.is_Rational and exponent.is_Rational:
        bits = max(abs(base.p), base.q).bit_length() - 1
        if bits * abs(exponent) > MAX_BITS:
            raise TooLarge
    if (
        exponent.is_Rational
        and exponent.q % 2
        and exponent.q > 1
        and base.is_real
        and not base.is_nonnegative
    ):
        return (
            sympy.sign(base) ** exponent.p * sympy.Abs(base) ** exponent
        )  # the real root of a negative number
    return sympy.Pow(base, exponent)


_NAMES: dict[str, Callable[..., Formula]] = {
    "add": sympy.Add,
    "mul": sympy.Mul,
    "abs": sympy.Abs,
    "max": sympy.Max,
    "min": sympy.Min,
}


def factor_between(one: Formula, other: Formula, ratio: Any) -> Formula:
    """The number c for which `one` may be c times `other`; `ratio`, a number of mpmath, is its value to 30 digits."""
    if not isinstance(ratio, mpmath.mpc):
        digits = Fraction(mpmath.nstr(ratio, 35))
        rational = digits.limit_denominator(MAX_DENOMINATOR)
        if rational and abs(digits / rational - 1) < Fraction(1, 10**25):
            return sympy.Rational(rational.numerator, rational.denominator)
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    point = {symbol: sympy.Rational(sympy.prime(index + 2), 2) for index, symbol in enumerate(symbols)}
    return one.subs(point) / other.subs(point)
