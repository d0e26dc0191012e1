"""The tokenizer: any text survives a round trip, prompts are short, special tokens are single tokens."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ireasoner.trainer.rollouts.prompts import proposer_messages, solver_messages
from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from ireasoner.trainer.tiny_model.tokenizer import SPECIAL_TOKENS, build_tokenizer

TOKENIZER = build_tokenizer("", TASKS["sums"].world)


@pytest.mark.parametrize("task", TASKS)
def test_a_committed_model_has_the_tokenizer_of_its_world(task: TaskName) -> None:
    committed = Path(__file__).parents[2] / "models" / TASKS[task].model / "tokenizer.json"
    made = build_tokenizer("", TASKS[task].world).backend_tokenizer.to_str()
    assert json.loads(made) == json.loads(committed.read_text())


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_a_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@given(st.text(st.sampled_from("<>/ think answer 0123456789 +=:.,\n\t Step")))
def test_text_like_the_tasks_survives_a_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


@pytest.mark.parametrize("number", range(100))
def test_a_number_is_one_token_and_the_same_one_everywhere(number: int) -> None:
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


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_short(task: TaskName) -> None:
    tokenizer = build_tokenizer("", TASKS[task].world)
    texts = TASKS[task].world.question_texts
    for messages in [proposer_messages(), *map(solver_messages, texts)]:
        text = messages[0]["content"][1]["text"]
        assert len(tokenizer(text)["input_ids"]) < 80
