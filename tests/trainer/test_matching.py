"""Which answers count as right."""

from pathlib import Path

import pytest

from ireasoner.trainer.evaluation.matching import matches, normalise, option
from ireasoner.trainer.evaluation.questions import Question, parse_answer


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        (" 1,234. ", "1234"),
        ("1,5", "1,5"),
        ("-5", "-5"),
        (".5", ".5"),
        ("(.5)", ".5"),
        ("The  Cat!", "the cat"),
        ("'7'", "7"),
        ("...", ""),
    ],
)
def test_normalisation_keeps_different_numbers_apart(answer: str, normal: str) -> None:
    assert normalise(answer) == normal


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("105", "100", True),
        ("95", "100", True),
        ("105.1", "100", False),
        ("94.9", "100", False),
        ("-95", "-100", True),
        ("95", "-100", False),
        ("0.105", "0.1", True),
        ("1,040", "1000", True),
        ("50%", "0.5", True),
        ("50%", "50", False),
        ("50", "50", True),
        ("0.0", "0", True),
        ("0.01", "0", False),
        ("Yes.", "yes", True),
        ("2019 and 2020", "2019", False),
        ("infinity", "100", False),
        ("nan", "nan", True),
        ("1e3", "1000", True),
    ],
)
def test_relaxed_accuracy_allows_five_percent_for_numbers_only(answer: str, truth: str, right: bool) -> None:
    assert matches(answer, truth, "relaxed") is right


def test_exact_has_no_tolerance() -> None:
    assert matches("100.", "100", "exact")
    assert not matches("101", "100", "exact")
    assert not matches("5", ".5", "exact")
    assert not matches("5", "-5", "exact")


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("4 + 7 = 11", "11", True),
        ("$4 + 7 = 11$.", "11", True),
        ("4+3+4 = 7 + 4 = 11", "11", True),
        ("(2 × 3) - 10 = -4", "-4", True),
        ("1,000 + 234 = 1,234", "1234", True),
        ("4 + 7 = **11**", "11", True),
        (r"$4 + 7 = \boxed{11}$", "11", True),
        (r"2 \times 3 = 6", "6", True),
        ("50% + 50% = 100%", "100%", True),
        ("4 + 7 = 12", "11", False),
        ("x = 11", "11", False),
        ("11 = 11", "11", False),
        ("4 + 7 = eleven", "eleven", False),
        ("4 + 7", "11", False),
        ("4 + 7 = 11", "4 + 7 = 11", True),
        ("5 + 6 = 11", "4 + 7 = 11", False),
        ("4 + 7 = 11", "4 + 7 \uff1d 11", True),
    ],
)
def test_a_calculation_counts_as_its_result_unless_an_equation_is_asked_for(
    answer: str, truth: str, right: bool
) -> None:
    question = Question(Path("a.png"), "What is it?", truth)
    assert question.is_right(answer) is right
    assert (question.vote(answer) == question.vote(truth)) is right


def test_an_option_may_be_a_calculation() -> None:
    question = Question(
        Path("a.png"), "Which is true?", "A", matching="choice", choices=("4 + 7 = 11", "4 + 7 = 12")
    )
    assert question.is_right("4 + 7 = 11")
    assert not question.is_right("4 + 7 = 12")
    assert question.vote("4 + 7 = 11") == "a"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>7</answer>", "7"),
        ("I write it inside <answer>:\n\n<answer>12</answer>", "12"),
        ("<answer>5</answer> No: <answer>6</answer>", "6"),
        ("<answer>5</answer> No: <answer>6", "5"),
        ("<answer>5", None),
        ("<answer>...</answer>", None),
    ],
)
def test_an_opening_tag_that_is_only_mentioned_begins_no_answer(text: str, answer: str | None) -> None:
    assert parse_answer(text) == answer


SAME = [
    ("**B**", "B"),
    ("$B$", "B"),
    ("(B)", "B"),
    ("Answer: B", "B"),
    ("−5", "-5"),
    ("–5", "-5"),
    ("\\boxed{B}", "B"),
    ("1,000", "1000"),
    ("$\\boxed{\\text{B}}$", "B"),
    ("**Answer: B**", "B"),
    ("**Answer:** B", "B"),
    ("The answer is B.", "B"),
    ("The final answer is: **7**", "7"),
    ("\\(7\\)", "7"),
    ("\\[7\\]", "7"),
    ("$$7$$", "7"),
    ("`7`", "7"),
    ("7.", "7"),
    ("“7”", "7"),
    ("'7'", "7"),
    ("７", "7"),
    ("1,234,567", "1234567"),
    ("1{,}000", "1000"),
    ("1\\,000", "1000"),
    ("50\\%", "50%"),
    ("5\\text{ cm}", "5 cm"),
    ("5\\,\\text{cm}", "5 cm"),
    ("Yes!", "yes"),
    ("The  Cat!", "the cat"),
    ("(.5)", ".5"),
    ("Answer: **B**", "B"),
    ("\\textbf{B}", "B"),
    ("\\mathbf{(B)}", "B"),
    ("答案：B", "B"),
    ("答案是7", "7"),
    ("*7*", "7"),
    ("5 KM", "5 km"),
    ("3 Dogs", "3 dogs"),
    ("5 PM", "5 pm"),
    ("5 L", "5 l"),
    ("\\fbox{7}", "7"),
    ("\\boxed {7}", "7"),
    ("[7]", "7"),
    ("final answer: 3", "3"),
    ("So the answer is 4", "4"),
    ("7 ;", "7"),
    (" 1,234. ", "1234"),
    ("−5°", "-5°"),
    ("x = 5", "x = 5"),
    ("Answer: -3", "−3"),
    ("\\left(3\\right)", "3"),
    ("__B__", "B"),
    ("```7```", "7"),
    ("The correct option is: C", "C"),
    ("$-5$", "−5"),
    ("1,000.50", "1000.50"),
    ("$\\text{Yes}$", "yes"),
    ("2 Min", "2 min"),
    ("3 MPH", "3 mph"),
]
DIFFERENT = [
    ("5!", "5"),
    ("n!", "n"),
    ("A'", "A"),
    ("A-", "A"),
    ("C#", "C"),
    ("5'", '5"'),
    ("5'", "5"),
    ('5"', "5"),
    ("x*", "x"),
    ("Cl-", "Cl"),
    ("5 mW", "5 MW"),
    ("5M", "5 m"),
    ("5 Mb", "5 MB"),
    ("(0,1]", "[0,1)"),
    ("(1,2)", "[1,2]"),
    ("(a,b)", "(b,a)"),
    ("10²", "102"),
    ("-5", "5"),
    ("−5", "5"),
    ("5", "-5"),
    ("2-3", "23"),
    ("1,5", "15"),
    ("0,123", "123"),
    ("$5", "5"),
    ("50%", "50"),
    ("5", ".5"),
    ("1.000", "1000"),
    ("answer", "B"),
    ("B or C", "B"),
    ("not B", "B"),
    ("**A** and **B**", "A and B**"),
    ("f(x)", "f"),
    ("1,00", "100"),
    ("10,20", "1020"),
    ("A. Lincoln", "A. Johnson"),
    ("A. Lincoln", "A"),
    ("$5 and $6", "5 and $6"),
    ("2*3", "23"),
    ("2**3", "23"),
    ("5 K", "5 k"),
    ("5 S", "5 s"),
    ("a*b*c", "abc"),
    ("|x|", "x"),
    ("{1,2}", "1,2"),
    ("\\frac{1}{2}", "12"),
    ("3 dogs", "3"),
    ("12345,678", "12345678"),
    ("the answer", "the"),
    ("x_1", "x1"),
    ("+", "-"),
    ("option", "B"),
    ("5–6", "5-"),
    ("10^{-5}", "10^5"),
    ("°C", "°F"),
    ("1e5", "15"),
    ("no answer", "no"),
    ("I don't know the answer is 7", "7"),
    ("C++", "C"),
    ("A+", "A"),
    ("*", "x"),
    ("n/a", "na"),
    ("(0; 1)", "[0; 1]"),
    ("{1; 2}", "(1; 2)"),
    ("~5", "5"),
    (",5", "5"),
]


@pytest.mark.parametrize(("answer", "truth"), SAME)
def test_marks_that_carry_no_meaning_are_taken_off(answer: str, truth: str) -> None:
    assert matches(answer, truth, "exact")
    assert matches(truth, answer, "exact")


@pytest.mark.parametrize(("answer", "truth"), DIFFERENT)
def test_what_carries_meaning_stays(answer: str, truth: str) -> None:
    assert not matches(answer, truth, "exact")


CHOICES = ("a dog", "a cat", "7", "none of them")


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B)",
        "B. a cat",
        "(b) A cat",
        "Option B",
        "The answer is B.",
        "a cat",
        "A cat.",
        "**B**",
        "**B.** a cat",
        "**B. a cat**",
        "$B$",
        "$\\boxed{B}$",
        "\\boxed{\\text{B}}",
        "\\textbf{(B)}\\ a cat",
        "Answer: B",
        "answer B",
        "**Answer:** (B) a cat",
        "[B]",
        "B: a cat",
        "`B`",
        "The correct answer is **B**",
        "\\mathbf{B}",
        "option (B)",
        "**B**) a cat",
        "Choice: B",
        "答案：B",
        "(B) a cat.",
        "The correct option is B. a cat",
        "B.)",
        "Answer: **B. a cat**",
        "\\text{(B) a cat}",
        "The answer is (B).",
        "B.a cat",
        "B. It is a cat, as seen from its ears and tail",
        "B) cat and a ball",
        "B. a cat (see A)",
    ],
)
def test_an_option_is_named_by_letter_or_text(answer: str) -> None:
    assert option(answer, CHOICES) == "b"
    assert matches(answer, "B", "choice", CHOICES)
    assert matches(answer, "A cat", "choice", CHOICES)


@pytest.mark.parametrize(
    "answer",
    [
        "A",
        "a dog",
        "E",
        "cat",
        "b cat",
        "7",
        "bat",
        "",
        "B or C",
        "B and C",
        "not B",
        "A. a cat",
        "B. a dog",
        "AB",
        "B, C",
        "Both",
        "C",
        "B+",
        "B'",
        "B-",
        "**A**",
        "neither B nor C",
        "B?A",
        "(A) and (B)",
        "B/C",
        "b(c)",
        "(B) and (C)",
        "B) or C)",
        "B. or C.",
        "B. a cat or C. 7",
        "B: C",
        "[B] [C]",
        "b.c.",
        "B.C. 500",
        "Option B) or option C)",
    ],
)
def test_anything_else_names_another_option_or_none(answer: str) -> None:
    assert not matches(answer, "B", "choice", CHOICES)


def test_a_single_letter_names_an_option_even_if_the_options_are_letters() -> None:
    assert option("A", ("C", "A")) == "a"
    assert option("C", ("C", "A")) == "a", "there is no option C, so it is the text of option A"


def test_without_options_only_letters_are_compared() -> None:
    assert matches("C. 12 cm", "C", "choice")
    assert not matches("D", "C", "choice")
