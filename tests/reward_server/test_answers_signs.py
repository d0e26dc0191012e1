"""Signs after an answer that mean something, and punctuation that does not."""

import pytest

from ireasoner.reward_server.answers.normalise import normalise_answer
from tests.reward_server.answer_forms import assert_apart, assert_same

APART = [
    ["5!", "5", "5!!"],
    ["n!", "n", "2n!"],
    ["(n+1)!", "n+1"],
    ["A'", "A", "A''"],
    ["f'", "f", "f''"],
    ["A-", "A", "A+"],
    ["B–", "B"],
    ["C#", "C", "C++"],
    ["5'", '5"', "5"],
    ["5′", "5″", "5"],
    ["Cl-", "Cl"],
    ["Na+", "Na"],
    ["x*", "x"],
    ["A†", "A"],
    ["5%", "5", "5‰"],
    ["30°", "30"],
    ["5+", "5"],
    ["-x", "x"],
    ["!a", "a"],
    ["foo()", "foo"],
]
SAME = [
    ["yes!", "Yes", "YES!!", "yes.", "**yes**", "*yes*", "`yes`", '"yes"', "“yes”", "'yes'", "‘yes’", "Yes?"],
    ["No!", "no"],
    ["**5**", "5", "*5*", '"5"', "5.", "5**", "**5", "5;"],
    ["5 apples!", "5 apples"],
    ["the dog!", "The dog."],
    ["'A'", "A", '"A".'],
]
ROBUST_APART = [["0.333...", "0.333"], ["Ca²⁺", "Ca⁺", "Ca"], ["SO₄²⁻", "SO₄"], ["O2-", "O2"], ["a%b", "a"]]
ROBUST_SAME = [
    ["A'", "A′", "A’"],
    ["5′", "5'"],
    ["5″", '5"'],
    ["C♯", "C#"],
    ["Cl⁻", "Cl-", "Cl^-", "Cl^{-}"],
    ["Ca²⁺", "Ca^{2+}", "Ca^2+"],
    ["H₂O", "H2O", "H_2O", r"\text{H}_2\text{O}", r"\mathrm{H_2O}"],
    ["**Answer: 7**", "7", "**Answer:** 7", "7**"],
]


@pytest.mark.parametrize("answers", APART)
def test_a_sign_with_a_meaning_stays(answers: list[str]) -> None:
    assert_apart(*answers)
    assert len({normalise_answer(answer) for answer in answers}) == len(answers)


@pytest.mark.parametrize("answers", SAME)
def test_punctuation_does_not_count(answers: list[str]) -> None:
    assert_same(*answers)


@pytest.mark.parametrize("answers", [[each for each in answers if "`" not in each] for answers in SAME])
def test_punctuation_does_not_count_in_text(answers: list[str]) -> None:
    assert len({normalise_answer(answer) for answer in answers}) == 1


@pytest.mark.parametrize("answers", ROBUST_APART)
def test_other_signs_stay_in_values(answers: list[str]) -> None:
    assert_apart(*answers)


@pytest.mark.parametrize("answers", ROBUST_SAME)
def test_spellings_of_a_sign(answers: list[str]) -> None:
    assert_same(*answers)


@pytest.mark.parametrize(
    "piece", ["!", "!?", "*", "a*", "- ", "'", '5"', "#a#", "_*", "()", "(", "x ", "1,", "$"]
)
@pytest.mark.timeout(20)
def test_a_long_answer_is_read_in_linear_time(piece: str) -> None:
    long = piece * (50_000 // len(piece))
    assert_same(long, f" {long} ".strip())
    assert isinstance(normalise_answer(f"Yes{long}"), str)
