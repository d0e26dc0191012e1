r"""What an answer in formulas states: a value, an equation, an inequality, or a chain of these.

Statements of different kinds are never the same: an equation in unknowns is not a number, and `x < 2` is not `x \le 2`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ireasoner.reward_server.answers.expression import Expression, NotRead
from ireasoner.reward_server.answers.latex import read_expression
from ireasoner.reward_server.answers.latex_tokens import CLOSING, OPENING, tokens_of

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
class Chain:
    """Several relations that hold at once: `1 < x < 2` is `1 < x` and `x < 2`. Their order does not count."""

    relations: tuple[Relation, ...]


Statement = Value | Relation | Chain

_SIGNS: dict[str, Sign] = {"=": "=", "<": "<", ">": "<", r"\le": r"\le", r"\ge": r"\le", r"\ne": r"\ne"}


def read_statement(text: str) -> Statement:
    """What `text`, in LaTeX, states.

    Raises NotRead.
    """
    sides, signs = _sides(tokens_of(text))
    expressions = [read_expression(side) for side in sides]
    if not signs:
        return Value(expressions[0])
    relations = tuple(
        Relation(_SIGNS[sign], *(reversed(pair) if sign in (">", r"\ge") else pair))
        for sign, pair in zip(signs, pairwise(expressions), strict=True)
    )
    return relations[0] if len(relations) == 1 else Chain(relations)


def _sides(tokens: Sequence[str]) -> tuple[list[Sequence[str]], list[str]]:
    """The parts of `tokens` between the signs of relations outside brackets, and these signs."""
    sides: list[Sequence[str]] = []
    signs: list[str] = []
    start = 0
    for index, depth in enumerate(_depths(tokens)):
        if depth == 0 and tokens[index] in _SIGNS:
            sides.append(tokens[start:index])
            signs.append(tokens[index])
            start = index + 1
    return [*sides, tokens[start:]], signs


def _depths(tokens: Sequence[str]) -> Iterator[int]:
    """How many brackets are open after each token. Raises NotRead if one closes that is not open."""
    depth = 0
    for token in tokens:
        depth += (token in OPENING) - (token in CLOSING)
        if depth < 0:
            raise NotRead("a bracket is not open")
        yield depth
    if depth:
        raise NotRead("a bracket is not closed")
