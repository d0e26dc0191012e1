"""When the order of a list counts, and when it is a set."""

import pytest

from tests.reward_server.answer_forms import assert_apart, assert_same

APART = [
    # letters in sequence
    ["A, C, B, D", "D, C, B, A", "A, B, C, D", "B, A, C, D", "D, A, B, C"],
    ["A, C, B, and D", "D, C, B, and A"],
    ["A,C,B,D", "D,C,B,A"],
    ["P, Q, R", "R, Q, P"],
    ["I, III, II", "II, I, III", "III, II, I"],
    ["A-C-B-D", "D-C-B-A"],
    ["A → B → C", "C → B → A"],
    ["A > B > C", "C > B > A", "A > C > B"],
    ["S1, S3, S2", "S1, S2, S3"],
    ["C, Eb, G", "G, Eb, C"],
    # conjunctions
    ["red and blue", "red or blue"],
    ["yes or no", "yes and no"],
    ["left or right", "left and right"],
    ["increase or decrease", "increase and decrease"],
    ["A, B or C", "A, B and C"],
    ["I or II", "I and II"],
    ["red and blue, green", "red, blue and green"],
    ["Paris, France and Rome, Italy", "Paris, Italy and Rome, France"],
    ["March 3, 2020 and May 5, 2021", "March 3, 2021 and May 5, 2020"],
    ["3 apples and 2 pears", "2 apples and 3 pears"],
    # brackets
    ["(a, 0)", "(0, a)"],
    ["(n, 1)", "(1, n)"],
    ["(a, b]", "[a, b)", "(a, b)", "[a, b]"],
    ["[100,200)", "(100,200]", "(100,200)"],
    [r"(-\infty, 2]", r"(-\infty, 2)", r"[-\infty, 2]"],
    [r"(\pi, 0)", r"\{\pi, 0\}", r"(0, \pi)"],
    ["(cat, 3)", "(3, cat)"],
    ["(red, blue)", "(blue, red)"],
    ["[red, blue]", "[blue, red]"],
    ["(x+1, 2)", "(2, x+1)"],
    [r"\langle 1, 2\rangle", r"\langle 2, 1\rangle", "(1, 2)"],
    ["<1, 2>", "<2, 1>", "{1, 2}"],
    ["(1,2), (3,4)", "(3,4), (1,2)"],
    [r"(-\infty, 2) \cup (3, \infty)", r"(-\infty, 2] \cup (3, \infty)", r"(-\infty, 2) \cap (3, \infty)"],
    # repeats and alternations
    ["Yes, No, Yes", "No, Yes", "Yes, No", "No, Yes, No"],
    ["red, red, blue", "red, blue", "blue, red, red"],
    ["2 and 2", "2"],
    ["1, 1, 2", "1, 2", "1, 2, 2"],
    # verdicts and directions
    ["True, False", "False, True"],
    ["yes and no", "no and yes"],
    ["increase, decrease", "decrease, increase"],
    ["up, left", "left, up"],
    ["Yes, because it is red", "No, because it is red"],
    # numbers, and what is mixed with them
    ["1, 2", "2, 1"],
    ["10, 20, N/A", "20, 10, N/A"],
    ["3, cat", "cat, 3"],
    [r"\frac{1}{2}, x", r"x, \frac{1}{2}"],
    ["10 and 20, respectively", "20 and 10, respectively", "10 and 20"],
    ["first red, then blue", "first blue, then red"],
    # other items
    ["cat, dog", "cat", "cat, dog, bird"],
    ["A and C", "A and D", "A"],
    ["1,5", "1, 5", "1.5", "15"],
    ["640x480", "480x640", "307200"],
    ["3:2", "2:3", "1.5"],
    ["5-10", "10-5", "-5"],
]
SAME = [
    ["red, blue", "blue and red", "Blue, red.", "blue & red", "red,blue", "{red, blue}"],
    ["cat, dog and bird", "bird, cat, dog", "dog, cat & bird"],
    ["红色、蓝色", "蓝色，红色"],
    ["1 and 2", "2 and 1", "{1, 2}", r"\{2, 1\}", "{1,2,2}", r"\left\{1,2\right\}"],
    ["A and C", "C and A", "C & A"],
    ["A, B, D", "A, B and D", "(A), (B), (D)", "A,B,D"],
    ["1, 2, 3", "(1, 2, 3)", "[1,2,3]", "1,2,3", "( 1 , 2 , 3 )", "1; 2; 3"],
    ["(3, 4)", "(3,4)", "$(3, 4)$", "(3.0, 4.0)", r"\left(3, 4\right)"],
    ["(1/2, 3)", "(0.5, 3)", r"(\frac{1}{2}, 3)", r"\left(\dfrac12,\,3\right)"],
    [r"(-\infty, 2]", "(-∞,2]", "(-inf, 2]", r"\left(-\infty, 2\right]"],
    [r"(-\infty, 2) \cup (3, \infty)", "(3,∞) ∪ (-∞,2)", r"(-\infty,2)\cup(3,\infty)"],
    ["10 and 20, respectively", "10, 20", "(10, 20)"],
    ["5-10", "5–10", "5 - 10"],
    ["3:2", "3 : 2"],
    ["640x480", "640 × 480", "640 x 480", r"640 \times 480"],
    [r"\emptyset", "∅", "{}", r"\{\}", r"\varnothing", "empty set"],
    [r"\pm 5", "±5", "5 or -5", "{5, -5}"],
]
MATRICES_APART = [
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
    r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}",
    r"\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix}",
    r"\begin{pmatrix} 1 & 2 & 3 & 4 \end{pmatrix}",
    r"\begin{pmatrix} 1 \\ 2 \\ 3 \\ 4 \end{pmatrix}",
]
MATRICES_SAME = [
    [
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
        r"\begin{bmatrix}1 & 2\\ 3 & 4\end{bmatrix}",
        r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)",
        r"\begin{pmatrix} 1 & 2 \\[4pt] 3 & 4 \\ \end{pmatrix}",
        r"$\begin{pmatrix}1.0&2\\3&\frac{8}{2}\end{pmatrix}$",
        "[[1,2],[3,4]]",
        "[[1, 2], [3, 4]]",
    ]
]
JSON_SAME = [
    [
        '```json {"a": 1, "b": [1, 2]} ```',
        '{"a": 1, "b": [1,2]}',
        '{"b":[1,2],"a":1}',
        '``` {"a": 1.0, "b": [1, 2]} ```',
        '{ "a" : "1", "b" : [1, 2] }',
    ],
    ["```json [1, 2, 3] ```", "[1, 2, 3]", "1, 2, 3"],
    ["```python print(1) ```", "print(1)", "`print(1)`"],
    ["``` 5 ```", "5", "```5```"],
]
JSON_APART = [
    '{"a": 1}',
    '{"a": 2}',
    '{"b": 1}',
    '{"a": [1, 2]}',
    '{"a": [2, 1]}',
    '{"a": {"a": 1}}',
    '{"a": 1',
]


@pytest.mark.parametrize("answers", [*APART, MATRICES_APART, JSON_APART])
def test_different_lists(answers: list[str]) -> None:
    assert_apart(*answers)


@pytest.mark.parametrize("answers", [*SAME, *MATRICES_SAME, *JSON_SAME])
def test_the_same_list(answers: list[str]) -> None:
    assert_same(*answers)
