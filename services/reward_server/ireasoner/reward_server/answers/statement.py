r"""What an answer in formulas states: a value, an equation, an inequality, or several of them.

Statements of different kinds are never the same: an equation in unknowns is not a number, an ordered pair is not a set,
and `x < 2` is not `x \le 2`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ireasoner.reward_server.answers.expression import Expression, NotRead
from ireasoner.reward_server.answers.latex import read_expression
from ireasoner.reward_server.answers.tokens import CLOSING, OPENING, tokens_of

MAX_ITEMS = 64

Sign = Literal["=", "<", r"\le", r"\ne"]


@dataclass(frozen=True, slots=True)
class Value:
    """A number, or an expression in unknowns."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Relation:
    """An equation or an inequality; `>` is written as `<`."""

    sign: Sign
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Collection:
    r"""Several statements.

    `kind` is `set`, `all` (of a chain `1 < x < 2`), `\cup`, a list's brackets such as `(]`, `matrix 2` (with its
    columns), or `\in`, with two members: what, and of what.
    """

    kind: str
    members: tuple["Statement", ...]

    @property
    def is_ordered(self) -> bool:
        """Whether the order of its members counts."""
        return self.kind not in ("set", "all", r"\cup")


Statement = Value | Relation | Collection

_RELATIONS: dict[str, Sign] = {"=": "=", "<": "<", ">": "<", r"\le": r"\le", r"\ge": r"\le", r"\ne": r"\ne"}
_MATRICES = ("matrix", "pmatrix", "bmatrix")


def read_statement(text: str) -> Statement:
    """What `text`, in LaTeX, states.

    Raises NotRead.
    """
    return _statement(tokens_of(text))


def _statement(tokens: Sequence[str]) -> Statement:
    if not tokens:
        raise NotRead("nothing to read")
    parts, found = _split(tokens, (",", ";"))
    if found:
        return _collection("", parts)
    if double := sum(each in (r"\pm", r"\mp") for each in tokens):
        if double > 1:
            raise NotRead("more than one ± is ambiguous")
        return Collection("set", tuple(_statement(_signed(tokens, plus)) for plus in "+-"))
    parts, found = _split(tokens, tuple(_RELATIONS))
    if found:
        return _chain([read_expression(part) for part in parts], found)
    for separator in (r"\in", r"\cup"):
        parts, found = _split(tokens, (separator,))
        if found:
            return _collection(separator, parts)
    return _bracketed(tokens) or Value(read_expression(tokens))


def _chain(sides: Sequence[Expression], signs: Sequence[str]) -> Statement:
    relations = tuple(
        Relation(_RELATIONS[sign], *(reversed(pair) if sign in (">", r"\ge") else pair))
        for sign, pair in zip(signs, pairwise(sides), strict=True)
    )
    return relations[0] if len(relations) == 1 else Collection("all", relations)


def _signed(tokens: Sequence[str], plus: str) -> list[str]:
    minus = "-" if plus == "+" else "+"
    return [plus if each == r"\pm" else minus if each == r"\mp" else each for each in tokens]


def _bracketed(tokens: Sequence[str]) -> Statement | None:
    """A list in brackets, a set, or a matrix; None if `tokens` is none of them."""
    opening, closing = tokens[0], tokens[-1]
    if (
        opening.startswith(r"\begin{")
        and opening[7:-1] in _MATRICES
        and closing == rf"\end{{{opening[7:-1]}}}"
    ):
        return _matrix(tokens[1:-1])
    if opening not in OPENING or closing not in CLOSING or _closes_at(tokens) != len(tokens) - 1:
        return None
    if any("," in token[1:] for token in tokens):
        raise NotRead("one number or two: a comma without a space")
    parts, separators = _split(tokens[1:-1], (",", ";"))
    if not separators:
        return None if opening != r"\{" else _collection("set", parts)
    is_set = opening in ("{", r"\{")
    return _collection("set" if is_set else opening + closing, parts)


def _matrix(tokens: Sequence[str]) -> Collection:
    rows = [_split(row, ("&",))[0] for row in _split(tokens, (r"\\",))[0] if row]
    if len({len(row) for row in rows}) != 1:
        raise NotRead("a matrix with rows of different lengths")
    return _collection(f"matrix {len(rows[0])}", [part for row in rows for part in row])


def _collection(kind: str, parts: Sequence[Sequence[str]]) -> Collection:
    if len(parts) > MAX_ITEMS:
        raise NotRead(f"more than {MAX_ITEMS} items")
    return Collection(kind, tuple(_statement(part) for part in parts))


def _split(tokens: Sequence[str], separators: Sequence[str]) -> tuple[list[Sequence[str]], list[str]]:
    """The parts of `tokens` between the separators outside of brackets, and the separators."""
    parts: list[Sequence[str]] = []
    found: list[str] = []
    start = 0
    for index, depth in enumerate(_depths(tokens)):
        if depth == 0 and tokens[index] in separators:
            parts.append(tokens[start:index])
            found.append(tokens[index])
            start = index + 1
    return [*parts, tokens[start:]], found


def _closes_at(tokens: Sequence[str]) -> int | None:
    """The index at which the first bracket closes."""
    return next((index for index, depth in enumerate(_depths(tokens)) if index and depth == 0), None)


def _depths(tokens: Sequence[str]) -> Iterator[int]:
    """How many brackets are open after each token. Raises NotRead if one closes that is not open."""
    depth = 0
    for token in tokens:
        depth += (token in OPENING or token.startswith(r"\begin{")) - (
            token in CLOSING or token.startswith(r"\end{")
        )
        if depth < 0:
            raise NotRead("a bracket is not open")
        yield depth
    if depth:
        raise NotRead("a bracket is not closed")
