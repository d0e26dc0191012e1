r"""Reads an expression in LaTeX, or as it is typed: `\frac{1}{2}x^2`, `sqrt(2)/2`, `3*sin(x)`.

Reading is strict: what could mean two things is refused rather than guessed. `1/2x` may be `\frac{1}{2}x` or
`\frac{1}{2x}`, and `2 3` may be anything. `e` is Euler's number, `i` the imaginary unit, `\log` has the base 10, a
digit before a proper fraction makes a mixed number, and `f(x)` or `P(A)` is a function of which nothing is known.
"""

from collections.abc import Sequence
from fractions import Fraction

from ireasoner.reward_server.answers.expression import (
    FUNCTIONS,
    MINUS_ONE,
    ONE,
    Apply,
    Constant,
    Expression,
    NotRead,
    Number,
    Symbol,
    add,
    mul,
    negative,
    quotient,
)
from ireasoner.reward_server.answers.latex_tokens import BRACKETS, CLOSING

MAX_DEPTH = 40

_ACCENTS = frozenset(
    [
        *[r"\vec", r"\hat", r"\bar", r"\overline", r"\tilde", r"\dot", r"\ddot", r"\underline"],
        *[r"\mathbf", r"\boldsymbol", r"\mathbb", r"\mathcal"],
    ]
)
_PREFIXES = frozenset([r"\Delta", r"\angle", r"\measuredangle", r"\triangle"])
"""What makes one name with the letters that follow."""
_NAMED = {
    **{
        name: name
        for name in FUNCTIONS
        if name[-1] in "nstch" and name not in ("abs", "max", "min", "ceiling")
    },
    **{
        f"arc{name}": f"a{name}"
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")
    },
    **{f"ar{name}": f"a{name}" for name in ("sinh", "cosh", "tanh")},
    **{"exp": "exp", "ln": "log", "log": "log10", "lg": "log10", "max": "max", "min": "min"},
}
"""Functions by the name of their command."""
_INVERTIBLE = frozenset(["sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh"])
_LETTERS = frozenset(
    [
        *[
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "vartheta",
            "iota",
            "kappa",
            "lambda",
        ],
        *["mu", "nu", "xi", "rho", "varrho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "ell"],
        *[
            "Gamma",
            "Delta",
            "Theta",
            "Lambda",
            "Xi",
            "Pi",
            "Sigma",
            "Upsilon",
            "Phi",
            "Psi",
            "Omega",
            "emptyset",
        ],
    ]
)
"""Commands that are names; others are not read."""
_DEGREE = quotient(Constant("pi"), Number(Fraction(180)))
_PERCENT = Number(Fraction(1, 100))


def read_expression(tokens: Sequence[str]) -> Expression:
    """The expression that `tokens` mean.

    Raises NotRead.
    """
    reader = _Reader(tokens)
    expression = reader.sum()
    if not reader.at_end:
        raise NotRead(f"unexpected {reader.next!r}")
    return expression


class _Reader:
    """A recursive descent over tokens."""

    def __init__(self, tokens: Sequence[str], depth: int = 0) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = depth
        self._bars = 0

    @property
    def next(self) -> str:
        """The next token; empty at the end."""
        return self._tokens[self._index] if self._index < len(self._tokens) else ""

    @property
    def at_end(self) -> bool:
        """Whether all tokens were read."""
        return self._index >= len(self._tokens)

    def sum(self) -> Expression:
        """Terms joined by + and -."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotRead("nested too deep")
        terms = [self._term()]
        while self.next in ("+", "-"):
            minus = self._take() == "-"
            term = self._term()
            terms.append(negative(term) if minus else term)
        self._depth -= 1
        return add(*terms)

    def _take(self) -> str:
        token = self.next
        if not token:
            raise NotRead("it ends too early")
        self._index += 1
        return token

    def _expect(self, token: str) -> None:
        if (found := self._take()) != token:
            raise NotRead(f"{token!r} expected, not {found!r}")

    def _term(self) -> Expression:
        """Factors joined by * and /, or written side by side."""
        if self.next in ("+", "-"):
            return negative(self._term()) if self._take() == "-" else self._term()
        term = self._product()
        while self.next in ("*", "/"):
            divides = self._take() == "/"
            sign = ONE
            while self.next in ("+", "-"):
                sign = MINUS_ONE if (self._take() == "-") == (sign is ONE) else ONE
            start = self._index
            factor = self._product()
            if divides and isinstance(factor, Apply) and factor.function == "beside":
                raise NotRead(
                    f"a/bc is ambiguous: write brackets around {''.join(self._tokens[start : self._index])}"
                )
            if _is_vector(term) and _is_vector(factor):
                raise NotRead("a product of vectors is ambiguous")
            if sign is MINUS_ONE:
                factor = negative(_plain(factor))
            term = quotient(_plain(term), factor) if divides else mul(_plain(term), _plain(factor))
        return _plain(term)

    def _product(self) -> Expression:
        """Factors side by side: 2x(x+1)."""
        factors = [self._power()]
        while self._starts_factor():
            is_number, follows = self.next[0].isdigit() or self.next[0] == ".", self.next
            before, start = self._tokens[self._index - 1], self._index
            factor = self._power()
            if is_number:
                raise NotRead(f"{before} {follows} is ambiguous")
            if follows == r"\frac" and _is_number(before) and len(factors) == 1:
                factors = [_mixed(factors[0], factor, self._tokens[start : self._index])]
            else:
                factors.append(factor)
        return factors[0] if len(factors) == 1 else Apply("beside", tuple(factors))

    def _starts_factor(self) -> bool:
        token = self.next
        if (
            not token
            or token in CLOSING
            or token in ("+", "-", "*", "/", "^", "_", "!", ",", ";", "=", "<", ">")
        ):
            return False
        if token == "|":
            return self._bars == 0
        return token not in ("%", "°", r"\ne", r"\le", r"\ge")

    def _power(self) -> Expression:
        """An atom with what follows it: x^2, n!, 30°."""
        base = self._atom()
        while self.next in ("^", "!", "%", "°"):
            sign = self._take()
            if sign == "!":
                if self.next == "!":
                    raise NotRead("!! is ambiguous")
                base = Apply("factorial", (base,))
            elif sign == "%":
                base = mul(base, _PERCENT)
            elif sign == "°" or self._is_degree():
                base = mul(base, _DEGREE)
            else:
                base = Apply("pow", (base, self._exponent()))
                if self.next == "^":
                    raise NotRead("a^b^c is ambiguous: write braces")
        return base

    def _is_degree(self) -> bool:
        for written in (("°",), ("{", "°", "}")):
            if tuple(self._tokens[self._index : self._index + len(written)]) == written:
                self._index += len(written)
                return True
        return False

    def _exponent(self) -> Expression:
        if self.next in ("+", "-"):
            return negative(self._exponent()) if self._take() == "-" else self._exponent()
        if len(self.next) > 1 and self.next.isalpha() and self.next not in _NAMED:
            raise NotRead(f"the exponent {self.next} is ambiguous: write braces")
        return self._atom()

    def _group(self, opening: str) -> Expression:
        """What is between brackets whose opening was read."""
        bars, self._bars = self._bars, 0
        inside = self.sum()
        self._bars = bars
        self._expect(BRACKETS[opening])
        return inside

    def _argument(self) -> Expression:
        """The argument of a LaTeX command: a group in braces, or one digit or letter."""
        token = self.next
        if len(token) > 1 and token.isalnum():  # \frac12
            self._replace(token[0], token[1:])
        return self._atom()

    def _replace(self, *tokens: str) -> None:
        """Reads the next token as these."""
        self._tokens = [*self._tokens[: self._index], *tokens, *self._tokens[self._index + 1 :]]

    def _atom(self) -> Expression:
        token = self._take()
        if _is_number(token):
            return Number(_decimal(token))
        if token in (r"\lfloor", r"\lceil"):
            return Apply("floor" if token == r"\lfloor" else "ceiling", (self._group(token),))
        if token in ("(", "[", "{"):
            return self._group(token)
        if token == "|":
            return self._absolute()
        if token[0] == "\\":
            return self._command(token)
        if token[0].isalpha():
            return self._word(token)
        raise NotRead(f"unexpected {token!r}")

    def _absolute(self) -> Expression:
        self._bars += 1
        inside = self.sum()
        self._bars -= 1
        self._expect("|")
        return Apply("abs", (inside,))

    def _command(self, token: str) -> Expression:
        name = token[1:]
        if name in _NAMED:
            return self._function(_NAMED[name])
        if token == r"\frac":
            top = self._argument()
            return quotient(top, self._argument())
        if token == r"\binom":
            top = self._argument()
            return Apply("binomial", (top, self._argument()))
        if token == r"\sqrt":
            return self._root()
        if token == r"\infty":
            return Constant("infinity")
        if token == r"\pi":
            return Constant("pi")
        if token in _ACCENTS:
            return self._symbol(token + self._raw_argument())
        if token in _PREFIXES and self.next[:1].isalpha():
            return self._symbol(f"{token} {self._take()}")
        if name in _LETTERS:
            return self._symbol(token)
        raise NotRead(f"{token} is not known")

    def _root(self) -> Expression:
        degree: Expression = Number(Fraction(2))
        if self.next == "[":
            self._take()
            degree = self._group("[")
        radicand = self._atom() if _is_number(self.next) else self._argument()  # √12 is not √1 times 2
        exponent = (
            Number(1 / degree.value)
            if isinstance(degree, Number) and degree.value
            else Apply("pow", (degree, MINUS_ONE))
        )
        return Apply("pow", (radicand, exponent))

    def _word(self, token: str) -> Expression:
        letters = token.rstrip("'")
        if letters == token and letters in (*_NAMED, "sqrt", "pi"):
            return self._command(f"\\{letters}")
        if len(letters) == 1:
            return self._letter(token)
        if letters.isupper() or (len(letters) == 2 and letters[0] == "d"):
            return self._symbol(token)  # AB is a segment, dx a differential; neither is a product
        if letters != token or not (len(letters) == 2 or set(letters) <= set("xyz")):
            raise NotRead(f"{token} is a word")
        self._index -= 1
        self._replace(*letters)
        return self._atom()

    def _letter(self, token: str) -> Expression:
        if self.next != "_":
            if token == "e":
                return Constant("e")
            if token == "i":
                return Constant("i")
        return self._symbol(token)

    def _symbol(self, name: str) -> Expression:
        if self.next == "_":
            self._take()
            name += "_" + self._raw_argument()
        while self.next == "'":
            name += self._take()
        if self.next == "(" and self._is_call(name):
            self._take()
            return Apply(name, tuple(self._arguments()))
        return Symbol(name)

    def _is_call(self, name: str) -> bool:
        """Whether `name(` calls a function: f(x), P(A and B), y(0); but not x(x+1)."""
        letter = name.rstrip("'").split("_")[0]
        single = self._tokens[self._index + 2 : self._index + 3] == [")"]
        return letter in "fgh" or letter.isupper() or letter in (r"\phi", r"\Phi", r"\Gamma") or single

    def _arguments(self) -> list[Expression]:
        arguments = [self.sum()]
        while self.next in (",", ";"):
            self._take()
            arguments.append(self.sum())
        self._expect(")")
        return arguments

    def _raw_argument(self) -> str:
        """The text of an argument that is part of a name."""
        token = self._take()
        if token != "{":
            return token
        parts: list[str] = []
        while (part := self._take()) != "}":
            if part == "{":
                raise NotRead("a name within a name")
            parts.append(part)
        return "".join(part for part in parts if part != r"\text")

    def _function(self, function: str) -> Expression:
        """A function's power, base and argument: \\sin^2 x, \\log_2 (x+1)."""
        base: Expression | None = None
        power: Expression | None = None
        if self.next == "_":
            self._take()
            base = self._argument()
        if self.next == "^":
            self._take()
            power = self._exponent()
        if power == MINUS_ONE:
            if function not in _INVERTIBLE:
                raise NotRead("the power -1 of a function is ambiguous")
            function, power = f"a{function}", None
        arguments = self._function_arguments()
        if function == "log10":
            value = _logarithm(arguments, base or Number(Fraction(10)))
        elif base is not None:
            raise NotRead(f"{function} has no base")
        elif function not in ("max", "min") and len(arguments) != 1:
            raise NotRead(f"{function} has one argument")
        else:
            value = Apply(function, tuple(arguments))
        return value if power is None else Apply("pow", (value, power))

    def _function_arguments(self) -> list[Expression]:
        if self.next == "(":
            self._take()
            return self._arguments()
        if self.next == "{":
            return [self._argument()]
        factors = [self._signed_power()]
        while self._starts_factor() and self.next != "(" and self.next.lstrip("\\") not in _NAMED:
            factors.append(self._power())
        return [mul(*factors)]

    def _signed_power(self) -> Expression:
        if self.next == "-":
            self._take()
            return negative(self._power())
        return self._power()


def _plain(term: Expression) -> Expression:
    """Factors side by side are a product."""
    if isinstance(term, Apply) and term.function == "beside":
        return mul(*(_plain(each) for each in term.arguments))
    return term


def _is_vector(factor: Expression) -> bool:
    if isinstance(factor, Apply) and factor.function in ("mul", "beside"):
        return _is_vector(factor.arguments[-1])
    return isinstance(factor, Symbol) and factor.name.startswith((r"\vec", r"\mathbf", r"\boldsymbol"))


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or (token[:1] == "." and len(token) > 1)


def _decimal(token: str) -> Fraction:
    """The value of 1000.5 or of 0.1\\overline{6}."""
    plain, _, repeated = token.rstrip("}").partition("\\")
    if not repeated:
        return Fraction(plain)
    period = repeated.partition("{")[2]
    places = len(plain.partition(".")[2])
    return Fraction(plain + "0") + Fraction(int(period), 10**places * (10 ** len(period) - 1))


def _logarithm(arguments: list[Expression], base: Expression) -> Expression:
    if len(arguments) != 1:
        raise NotRead("a logarithm has one argument")
    logarithm = Apply("log", (arguments[0],))
    return logarithm if base == Constant("e") else quotient(logarithm, Apply("log", (base,)))


def _mixed(whole: Expression, part: Expression, written: Sequence[str]) -> Expression:
    """2\\frac{1}{3}: a mixed number if the fraction is a proper one of two whole numbers."""
    numbers = [Fraction(each) for each in written if each.isdigit()]
    if len(numbers) == 1 and len(written) == 2:  # \frac12
        numbers = [Fraction(digit) for digit in written[1]]
    is_plain = all(each.isdigit() or each in ("{", "}", r"\frac") for each in written) and len(numbers) == 2
    if not is_plain:
        return Apply("beside", (whole, part))
    if not isinstance(whole, Number) or whole.value.denominator != 1 or not numbers[0] < numbers[1]:
        raise NotRead("a number before a fraction is ambiguous")
    return Number(whole.value + numbers[0] / numbers[1])
