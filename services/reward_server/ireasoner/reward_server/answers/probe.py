"""The value of an expression at fixed points, to many digits.

Expressions whose values differ anywhere are different, whatever their size: values are written to a number of
significant digits, so `2^{-60}` and `2^{-61}` differ as `1` and `2` do. Values that agree are not proof that two
expressions are equal.

A point gives every symbol a real number that depends on its name alone, of both signs and of several sizes. Roots,
powers and logarithms have their principal complex values, but a root of odd degree of a negative number is real.
"""

import hashlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mp

from ireasoner.reward_server.answers.expression import (
    FUNCTIONS,
    Apply,
    Constant,
    Expression,
    NotRead,
    Number,
    Symbol,
)

SIZES = (1, 1, 12, 50, 4)
"""The points: how large the symbols are. At the first one, all are positive."""
POINTS = range(len(SIZES))
DIGITS = 20
"""Significant digits of a value that are compared."""
PRECISIONS = ((40, 90), (150, 320), (700, 1500))
"""Pairs of precisions in digits; a value counts once the two of a pair agree."""
MAX_EXPONENT_BITS = 100_000
"""Most binary digits of the exponent of a number: `2^{10^{9}}` has 30."""
AGREEING = DIGITS + 10

Real = Any
"""A number of mpmath, which has no types."""


def values(expression: Expression, precisions: Sequence[tuple[int, int]] = PRECISIONS) -> list[Real]:
    """The expression's values at all points, each right to AGREEING digits; an exact 0 where it is 0 to all digits.

    Raises NotRead: it has no value somewhere, or calculating it would take too much.
    """
    return [_stable_value(expression, point, precisions) for point in POINTS]


def is_zero_to_all_digits(expression: Expression) -> bool:
    """Whether its values are 0 at all points, as far as that can be seen."""
    try:
        return not any(values(expression, PRECISIONS[1:2]))
    except NotRead:
        return True


def _stable_value(expression: Expression, point: int, precisions: Sequence[tuple[int, int]]) -> Real:
    """The value on which two precisions agree."""
    for low, high in precisions:
        with mp.workdps(low):
            first = value(expression, point)
        with mp.workdps(high):
            second = value(expression, point)
            if not mp.isfinite(second):
                return second
            distance, size = abs(first - second), abs(second)
            if distance <= size * mp.mpf(10) ** -AGREEING:
                return second
            if size <= abs(first) * mp.mpf(10) ** -(high - low - 15):  # it shrinks with every digit
                return mp.mpf(0)
    raise NotRead("it has no value that can be calculated")


def digits(number: Real) -> str:
    """`number` to DIGITS significant digits; a part that is negligible beside the other is 0."""
    with mp.workdps(AGREEING):
        number = _chopped(mp.mpmathify(number), AGREEING)
        if mp.im(number) == 0:
            return str(mpmath.nstr(mp.re(number), DIGITS))
        if mp.re(number) == 0:
            return f"{mpmath.nstr(mp.im(number), DIGITS)}i"
        return f"{mpmath.nstr(mp.re(number), DIGITS)},{mpmath.nstr(mp.im(number), DIGITS)}i"


def value(expression: Expression, point: int) -> Real:
    """The expression's value at a point, in the precision that mpmath is set to.

    Raises NotRead.
    """
    if isinstance(expression, Number):
        return mp.mpf(expression.value.numerator) / expression.value.denominator
    if isinstance(expression, Constant):
        return {"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1), "infinity": mp.inf}[expression.name]
    if isinstance(expression, Symbol):
        return coordinate(expression.name, point)
    arguments = [value(each, point) for each in expression.arguments]
    try:
        found = _applied(expression, arguments, point)
    except (ZeroDivisionError, ValueError) as error:
        raise NotRead("it is not defined") from error
    if mp.isnan(found):
        raise NotRead("it is not defined")
    if found and mp.isfinite(found) and int(mp.mag(found)).bit_length() > MAX_EXPONENT_BITS:
        raise NotRead("its value is too large")
    return _chopped(found, mp.dps - 8)


def coordinate(name: str, point: int) -> Real:
    """The value of a symbol at a point."""
    drawn = hashlib.sha256(f"{point} {name}".encode()).digest()
    fraction = Fraction(int.from_bytes(drawn, "big"), 2**256)
    exact = _sign(name, point) * SIZES[point] * (Fraction(1, 2) + fraction)
    return mp.mpf(exact.numerator) / exact.denominator


def _sign(name: str, point: int) -> int:
    """Both signs for each symbol, and different ones for letters that are next to each other, as x and y are."""
    letters = sum(map(ord, name))
    bits = (0, letters, letters >> 1, ~(letters >> 1), ~letters)
    return -1 if bits[point] & 1 else 1


def _applied(expression: Apply, arguments: list[Real], point: int) -> Real:
    function = expression.function
    if function == "add":
        return mp.fsum(arguments)
    if function == "mul":
        return mp.fprod(arguments)
    if function == "pow":
        base, exponent = arguments
        return _power(base, exponent, expression.arguments[1])
    if function not in FUNCTIONS:
        called = ",".join(digits(each) for each in arguments)
        return coordinate(f"{function}({called})", point)
    if function in _OWN:
        return _OWN[function](*arguments)
    if any(mp.isfinite(each) and mp.mag(each) > MAX_EXPONENT_BITS for each in arguments if each):
        raise NotRead("its value is too large")
    return getattr(mp, function)(*arguments)


def _power(base: Real, exponent: Real, written: Expression) -> Real:
    if base == 0 or not (mp.isfinite(base) and mp.isfinite(exponent)):
        if exponent == 0:
            raise NotRead("it is not defined")
        return base**exponent
    if isinstance(written, Number) and written.value.denominator == 1:
        exact = int(written.value)
        if (exact * int(mp.mag(base))).bit_length() > MAX_EXPONENT_BITS:
            raise NotRead("its value is too large")
        return mp.power(base, exact)
    if isinstance(written, Number) and written.value.denominator % 2 and mp.im(base) == 0 and mp.re(base) < 0:
        root = mp.power(-base, exponent)
        return -root if written.value.numerator % 2 else root
    logarithm = exponent * mp.log(base)
    if logarithm and mp.mag(logarithm) > MAX_EXPONENT_BITS:
        raise NotRead("its value is too large")
    return mp.power(base, exponent)


def _chopped(number: Real, to_digits: int) -> Real:
    """`number` without a part that is negligible beside the other, as rounding leaves it."""
    if not isinstance(number, mpmath.mpc):
        return number
    bound = mp.mpf(10) ** -to_digits
    if abs(number.imag) <= abs(number.real) * bound:
        return number.real
    return mp.mpc(0, number.imag) if abs(number.real) <= abs(number.imag) * bound else number


def _whole(rounding: Callable[[Real], Real]) -> Callable[[Real], Real]:
    """Rounds; a number that is whole to nearly all digits is whole."""

    def rounded(number: Real) -> Real:
        if mp.im(number) or (number and mp.mag(number) > MAX_EXPONENT_BITS):
            raise NotRead("it is not defined")
        nearest = mp.nint(number)
        near = abs(number - nearest) <= mp.mpf(10) ** -(mp.dps - 10)
        return nearest if near else rounding(number)

    return rounded


def _factorial(number: Real) -> Real:
    if mp.isfinite(number) and number and mp.mag(number) > MAX_EXPONENT_BITS.bit_length():
        raise NotRead("its value is too large")
    return mp.factorial(number)


def _real(choose: Callable[..., Real]) -> Callable[..., Real]:
    def chosen(*arguments: Real) -> Real:
        if any(mp.im(each) for each in arguments):
            raise NotRead("it is not defined")
        return choose(arguments)

    return chosen


def _logarithm(number: Real) -> Real:
    if number == 0:
        raise NotRead("it is not defined")
    return mp.log(number)


_OWN: dict[str, Callable[..., Real]] = {
    "abs": abs,
    "log": _logarithm,
    "floor": _whole(lambda number: mp.floor(number)),
    "ceiling": _whole(lambda number: mp.ceil(number)),
    "factorial": _factorial,
    "max": _real(max),
    "min": _real(min),
}
