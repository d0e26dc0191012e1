"""Which answers count as right."""

import pytest

from ireasoner.trainer.evaluation.matching import matches, normalise, option


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


CHOICES = ("a dog", "a cat", "7", "none of them")


@pytest.mark.parametrize(
    "answer",
    ["B", "b", "(B)", "B.", "B)", "B. a cat", "(b) A cat", "Option B", "The answer is B.", "a cat", "A cat."],
)
def test_an_option_is_named_by_letter_or_text(answer: str) -> None:
    assert option(answer, CHOICES) == "b"
    assert matches(answer, "B", "choice", CHOICES)
    assert matches(answer, "A cat", "choice", CHOICES)


@pytest.mark.parametrize("answer", ["A", "a dog", "E", "cat", "b cat", "7", "bat", ""])
def test_anything_else_names_another_option_or_none(answer: str) -> None:
    assert not matches(answer, "B", "choice", CHOICES)


def test_a_single_letter_names_an_option_even_if_the_options_are_letters() -> None:
    assert option("A", ("C", "A")) == "a"
    assert option("C", ("C", "A")) == "a", "there is no option C, so it is the text of option A"


def test_without_options_only_letters_are_compared() -> None:
    assert matches("C. 12 cm", "C", "choice")
    assert not matches("D", "C", "choice")
