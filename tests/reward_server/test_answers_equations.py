"""Equations in unknowns, names with values, and calculations with results."""

import pytest

from ireasoner.reward_server.answers.canonical import form_of, forms_of
from ireasoner.reward_server.scoring_config import ROBUST
from tests.reward_server.answer_forms import assert_apart, assert_partition, assert_same

APART = [
    # an equation in unknowns is no number
    ["x+y=5", "x-y=5", "5"],
    ["2x+4y-3=0", "2x+4y=0", "0", "3"],
    ["xy = 6", "6", "x/y = 6"],
    ["abc = 6", "6"],
    ["x^2 = 4", "4", "2"],
    ["x^2 + y^2 = 25", "25", "5"],
    ["2x = 10", "10", "5"],
    ["|x| = 5", "5"],
    [r"\sin x = 1/2", "1/2", r"\cos x = 1/2"],
    ["sin(x)=1", "1", "cos(x)=1"],
    ["AB + BC = 12", "12", "AB + CD = 12"],
    ["1 km = 1000 m", "1000 m"],
    ["a^2+b^2=c^2", "c^2", "a^2+b^2"],
    ["x = y", "y", "x = z"],
    ["x = 2x - 2", "2x - 2"],
    ["x > 2", "x < 2", "x ≥ 2", "x = 2", "y > 2"],
    ["-3 < x < 3", "-3 ≤ x < 3", "3"],
    # names
    ["P(A)=1/2", "P(B)=1/2", "0.5"],
    [r"\angle A = 30", r"\angle B = 30", "30"],
    ["f(2)=3", "f(3)=3", "g(2)=3"],
    ["x = 2", "y = 2", "2"],
    ["X = 2", "x = 2"],
    ["x_1 = 3", "x_2 = 3"],
    ["AB = 5", "CD = 5"],
    [r"\overline{AB} = 3", r"\overline{CD} = 3"],
    ["T = 300 K", "P = 300 K", "300 K"],
    ["r = 5 cm", "d = 5 cm", "h = 5 cm"],
    ["Area = 12", "Perimeter = 12", "12"],
    ["α = 30°", "β = 30°"],
    [r"x \in [1, 2]", r"y \in [1, 2]", r"x \in [1, 2)"],
    ["f(x) = x^2", "g(x) = x^2", "x^2"],
    # several
    ["x=2, y=3", "y=2, x=3", "x=2, y=4", "x=2"],
    ["x=2, y=3", "(3, 2)"],
    ["(x, y) = (2, 3)", "(x, y) = (3, 2)"],
    ["x = 1, 2", "y = 1, 2"],
    ["x=2 or x=-2", "y=2 or y=-2"],
    ["x=3 or y=5", "x=5 or y=3"],
    ["x=2,y=3 or x=3,y=2", "x=2,y=2 or x=3,y=3"],
    ["red = 5, blue = 3", "red = 3, blue = 5"],
    ["x = 3 cm", "x = 3 m"],
    ["n = 4", "n = -4"],
]
SAME = [
    ["x = 5", "5", "$x=5$", "5 = x", "x = 5.0", r"x = \frac{10}{2} = 5"],
    ["2+3=5", "5", "4 + 1 = 5"],
    ["1+2+3=6", "6"],
    [r"\log_2 8 = 3", "3"],
    ["P(A) = 0.5", "1/2", "P(A)=1/2"],
    [r"m\angle A = 30°", r"\angle A = 30^\circ", "∠A = 30°", "30°"],
    ["f(2) = 3", "3"],
    ["AB=5", "5"],
    [r"\theta = 30^\circ", "30°", "θ=30 degrees"],
    ["T = 300 K", "300 K", "300K"],
    ["v = 5 m/s", "5 m/s"],
    ["Area = 12 cm^2", "12 cm²", "area = 12 cm^{2}"],
    ["The area = 12", "area = 12", "12"],
    ["x_1 = 3", "x_{1}=3", "x₁ = 3"],
    [r"x \in [1, 2]", "[1,2]", "x ∈ [1,2]"],
    ["y = 2x + 1", "2x+1"],
    ["f(x) = x^2", "x²"],
    ["x=2, y=3", "y=3, x=2", "x = 2 and y = 3", "y=3; x=2", "(x, y) = (2, 3)", "(y,x)=(3,2)", "(2, 3)"],
    ["x=2, y=3", r"\begin{cases} x = 2 \\ y = 3 \end{cases}", "$x=2$, $y=3$"],
    ["x=2 or x=-2", "x = -2, x = 2", r"x=\pm 2", "±2", "{2,-2}"],
    ["x = 2, -2", "2, -2"],
    ["red = 5, blue = 3", "blue = 3, red = 5"],
    ["x ≥ 3", "x >= 3", r"x \geq 3", "3 ≤ x"],
    ["-3 < x < 3", "3 > x > -3"],
    [r"x \ne 3", "x≠3", r"x \neq 3", "x != 3"],
]


@pytest.mark.parametrize("answers", APART)
def test_different_equations(answers: list[str]) -> None:
    assert_apart(*answers)


@pytest.mark.parametrize("answers", SAME)
def test_the_same_equation_or_value(answers: list[str]) -> None:
    assert_same(*answers)


def test_a_name_is_left_out_unless_another_has_the_same_value() -> None:
    assert_partition(["x = 5", "5"], ["y = 7"])
    assert_partition(["x = 5"], ["5"], ["y = 5"])


def test_a_name_is_left_out_of_a_formula_unless_the_group_has_another_name_or_equation() -> None:
    assert_partition(["y = 2x", "2x"])
    assert_partition(["y = 2x"], ["2x"], ["z = 3x"])
    assert_partition(["y=2x+1"], ["2x+1"], ["x-y=-1"])


def test_equations_are_compared_with_equations_only() -> None:
    forms = forms_of(["2x+4y-3=0", "y=-1/2*x+3/4", "x > 2", "5", r"\sqrt{2}", "x = 5"], ROBUST)
    assert [(form.kind, form.expression) for form in forms.values()] == [
        ("equation", "2x+4y-3=0"),
        ("equation", r"y=-1/2\cdot x+3/4"),
        ("inequality", "x > 2"),
        ("value", "5"),
        ("value", r"\sqrt{2}"),
        ("value", "5"),
    ]


@pytest.mark.parametrize(
    "answer", ["P(A) + P(B) = 1", "(a, b)", "{x, 1}", "x = 2, y = z", "AB = BC", r"x \in [0, a)"]
)
def test_what_has_no_rule_for_formulas_is_not_compared_as_one(answer: str) -> None:
    assert form_of(answer, ROBUST).expression is None
