"""The tokenizer: any text comes back, the task's text is short, the specials are whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.digit_grids.question import QUESTIONS
from trainer.digit_grids.tokenizer import SPECIAL_TOKENS, build_tokenizer
from trainer.prompts import proposer_messages, solver_messages

TOKENIZER = build_tokenizer("")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@given(st.text(st.sampled_from("<>/ think answer 0123456789 +=:.,\n\t Step")))
def test_text_like_the_tasks_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@pytest.mark.parametrize("number", range(100))
def test_a_number_is_one_token_and_the_same_one_wherever_it_stands(number: int) -> None:
    (token,) = TOKENIZER(str(number))["input_ids"]
    for text in (
        f"{number}.",
        f"sum {number}",
        f"\n{number} + 1",
        f"<answer>{number}</answer>",
        f"is {number},",
    ):
        assert token in TOKENIZER(text)["input_ids"]


def test_a_special_token_is_one_token_inside_text() -> None:
    for special in SPECIAL_TOKENS:
        ids = TOKENIZER(f"a{special}b")["input_ids"]
        assert len(ids) == 3
        assert ids[1] == TOKENIZER.convert_tokens_to_ids(special)


def test_the_end_and_the_padding_differ() -> None:
    assert TOKENIZER.eos_token == "<|im_end|>"
    assert TOKENIZER.pad_token == "<|endoftext|>"


def test_prompts_are_short() -> None:
    for messages in [proposer_messages(), *(solver_messages(question.text) for question in QUESTIONS)]:
        text = messages[0]["content"][1]["text"]
        assert len(TOKENIZER(text)["input_ids"]) < 80
