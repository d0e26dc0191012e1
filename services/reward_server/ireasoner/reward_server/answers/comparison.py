r"""Whether two statements say the same, in two steps: a reading of each alone, and a proof for pairs that agree.

Values are the same if they are equal for all values of their unknowns. Equations are the same if the differences of
their sides are proportional: `2x+4y-3=0` and `y=-\frac{1}{2}x+\frac{3}{4}`. So are inequalities, by a positive factor.
The relations of chains are compared in any order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import mpmath

from ireasoner.reward_server.answers.expression import Constant, Expression, difference, has_unknowns, walk
from ireasoner.reward_server.answers.normal_form import NormalForm, TooLarge, normal_form
from ireasoner.reward_server.answers.probe import Real, digits, is_zero_to_all_digits, values
from ireasoner.reward_server.answers.proof import factor_between, is_zero, to_sympy
from ireasoner.reward_server.answers.statement import Chain, Relation, Statement, Value, read_statement

Gap = tuple[Expression, list[Real]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known about one formula.

    Formulas with equal `form` are the same, those with different `key` are not; the others need a proof. `form` is None
    if writing it out would take too much.
    """

    key: str
    form: str | None


def read(formula: str) -> Reading:
    """Reads a formula in LaTeX.

    Raises NotRead: it cannot be read, or has no value.
    """
    return _reading(_reduced(read_statement(formula)))


def are_same(one: str, other: str) -> bool | None:
    """Whether two formulas with equal keys are the same; None if that cannot be told.

    Raises NotRead, and TooLarge.
    """
    return _same(_reduced(read_statement(one)), _reduced(read_statement(other)))


def _reduced(statement: Statement) -> Statement:
    """`2+3=5`, which is true, is the number 5; `x=2+3=5` is `x=2+3`."""
    if isinstance(statement, Relation):
        return Value(statement.right) if _is_true(statement) else statement
    if isinstance(statement, Chain):
        kept = tuple(each for each in statement.relations if not _is_true(each))
        if not kept:
            return Value(statement.relations[-1].right)
        return kept[0] if len(kept) == 1 else Chain(kept)
    return statement


def _is_true(relation: Relation) -> bool:
    """Whether it is an equation of two equal numbers."""
    gap = difference(relation.left, relation.right)
    if relation.sign != "=" or has_unknowns(gap) or _is_infinite(gap):
        return False
    if values(gap)[0] != 0:
        return False
    form = _form(gap)
    return (form is not None and not form.top) or is_zero(to_sympy(gap))


def _is_infinite(expression: Expression) -> bool:
    return any(each == Constant("infinity") for each in walk(expression))


def _form(expression: Expression) -> NormalForm | None:
    try:
        return normal_form(expression)
    except TooLarge:
        return None


def _reading(statement: Statement) -> Reading:
    if isinstance(statement, Value):
        key = _name("value", *map(digits, values(statement.expression)))
        form = _form(statement.expression)
        return Reading(key, _name("value", form.name) if form else None)
    if isinstance(statement, Relation):
        return _relation_reading(statement)
    return _joint_reading("all", list(_relations_by_reading(statement)))


def _joint_reading(kind: str, readings: Sequence[Reading]) -> Reading:
    forms = [each.form for each in readings]
    return Reading(
        _name(kind, *(each.key for each in readings)),
        None if None in forms else _name(kind, *map(str, forms)),
    )


def _relations_by_reading(chain: Chain) -> dict[Reading, Relation]:
    """The different relations of a chain, in an order that depends on their readings alone."""
    found = {_relation_reading(each): each for each in chain.relations}
    return dict(sorted(found.items(), key=lambda each: (each[0].key, each[0].form or "")))


def _relation_reading(relation: Relation) -> Reading:
    gap = _gap(relation)
    if gap is None:
        sides = [_reading(Value(relation.left)), _reading(Value(relation.right))]
        return _joint_reading(f"sides {relation.sign}", sides)
    difference_of_sides, found = gap
    directed = relation.sign in ("<", r"\le")
    reference = next(each for each in found if each != 0)
    with mpmath.mp.workdps(60):
        unit = abs(reference) if directed else reference
        key = _name(relation.sign, *(digits(each / unit) for each in found))
    form = _form(difference_of_sides)
    return Reading(key, _name(relation.sign, form.up_to_factor(positive=directed).name) if form else None)


def _gap(relation: Relation) -> Gap | None:
    """The difference of a relation's sides, and its values.

    None if the relation is true or false whatever its unknowns are: proportion says nothing about those.
    """
    if _is_infinite(relation.left) or _is_infinite(relation.right):
        return None
    gap = difference(relation.left, relation.right)
    found = values(gap)
    return None if len({digits(each) for each in found}) == 1 else (gap, found)


def _name(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _same(one: Statement, other: Statement) -> bool | None:
    if isinstance(one, Value) and isinstance(other, Value):
        return _equal(one.expression, other.expression)
    if isinstance(one, Relation) and isinstance(other, Relation) and one.sign == other.sign:
        return _same_relation(one, other)
    if isinstance(one, Chain) and isinstance(other, Chain):
        relations = [_relations_by_reading(each).values() for each in (one, other)]
        if len(relations[0]) != len(relations[1]):
            return False
        return _all(*(_same(*pair) for pair in zip(*relations, strict=True)))
    return False


def _all(*decided: bool | None) -> bool | None:
    if False in decided:
        return False
    return None if None in decided else True


def _equal(one: Expression, other: Expression) -> bool | None:
    if _is_infinite(one) or _is_infinite(other):
        return bool(to_sympy(one) == to_sympy(other))
    if not is_zero_to_all_digits(difference(one, other)):
        return False
    return is_zero(to_sympy(one) - to_sympy(other)) or None


def _same_relation(one: Relation, other: Relation) -> bool | None:
    first, second = _gap(one), _gap(other)
    if first is None or second is None:
        return _all(_same(Value(one.left), Value(other.left)), _same(Value(one.right), Value(other.right)))
    with mpmath.mp.workdps(40):
        ratio = next(
            each / against for each, against in zip(first[1], second[1], strict=True) if against != 0
        )
    formulas = to_sympy(first[0]), to_sympy(second[0])
    return is_zero(formulas[0] - factor_between(*formulas, ratio) * formulas[1]) or None
