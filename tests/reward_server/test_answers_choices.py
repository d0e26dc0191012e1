"""Letters of options, and initials and abbreviations that only look like them."""

import pytest

from tests.reward_server.answer_forms import assert_apart, assert_partition, assert_same

APART = [
    ["A. Lincoln", "A. Johnson", "A"],
    ["H. Potter", "H. G. Wells", "H"],
    ["E. Coli", "E"],
    ["E. coli", "E. faecalis", "C. elegans", "E"],
    ["C. 1900", "C. 1950", "C"],
    ["B. Obama", "B. Clinton", "B"],
    ["J. K. Rowling", "J. R. R. Tolkien", "J"],
    ["F. Scott Fitzgerald", "F"],
    ["A. D. 79", "79 AD", "A"],
    ["D-Day", "D"],
    ["B-flat", "B", "B♭"],
    ["Vitamin C", "C", "Vitamin D"],
    ["A: 3", "B: 3"],
    ["A: 3, B: 4", "A: 4, B: 3"],
    ["A. 1, B. 2", "A. 2, B. 1"],
    ["(a) 3", "(a) 4"],
    ["(A) Paris", "Paris"],
    ["(A) 12", "(B) 12"],
    ["(i)", "(ii)", "(iii)"],
    ["I only", "II only", "I and II only"],
    ["(a)(b)", "a", "b"],
    ["(x) + 3", "x"],
    ["(A) + (B)", "A"],
    ["(A) and (B)", "A"],
    [r"(A) \cup (B)", "A"],
    ["A. A. Milne", "A"],
    ["Option A", "Option B"],
    ["A", "A4", "AB", "A+"],
    [r"\textbf{(D)}\ 27", r"\textbf{(E)}\ 27"],
    [r"\textbf{(A)}\ 3", r"\textbf{(A)}\ 4"],
]
SAME = [
    ["C", "(C)", "C)", "C.", "c", "[C]", "Option C", "choice (C)", "The answer is (C).", "**C**", "（C）"],
    ["(B) Paris", "B", "B) Paris", "Option B: Paris", "option (B) Paris", "B. The city of Paris"],
    ["B. None of the above", "B"],
    ["C) 5 cm", "C"],
    [
        "D",
        r"\textbf{(D)}\ 27",
        r"\textbf{D}.",
        r"\mathbf{(D)}",
        r"\textbf{(D)} 27",
        r"$\textbf{(D)}\ 27$",
        r"\boxed{\textbf{(D)}\ 27}",
        r"\text{(D)}",
        r"\mathrm{D}",
        r"\textbf{(D) }27",
        r"\textbf{(D) 27}",
        r"\textbf{(D)}~27",
        r"\textbf{(D)}\,27",
        r"\textbf{D) }27",
        r"\textsf{(D)}",
        r"\boldsymbol{D}",
        r"{\bf D}",
        r"\boxed{\text{D}}",
        r"\(D\)",
        "**(D)**",
    ],
    [r"\textbf{(A)}\ \frac{1}{2}", "A", r"\textbf{(A)}\ -3"],
]


@pytest.mark.parametrize("answers", APART)
def test_different_answers(answers: list[str]) -> None:
    assert_apart(*answers)


@pytest.mark.parametrize("answers", SAME)
def test_the_same_choice(answers: list[str]) -> None:
    assert_same(*answers)


def test_a_letter_before_a_text_is_an_option_if_the_group_shows_it() -> None:
    assert_partition(["B. Paris", "B"], ["A"], ["C"])
    assert_partition(["B. Paris", "B", "(B)"], ["(C)"])
    assert_partition(["B. Paris", "B"], ["A. London"])
    assert_partition(["B: Paris", "B"], ["(D) Rome", "D"])
    assert_partition(["B. red bar", "B"], ["(A)"])
    assert_partition(["B - Paris", "B (Paris)", "B"], ["(A)"], ["A - 3"])
    assert_partition(["A. 12", "A"], ["B"], ["C. 15"])
    assert_partition(["B. Paris"], ["B"])
    assert_partition(["E. coli"], ["E"], ["C. elegans"])
