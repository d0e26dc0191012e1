"""The names of tokens, decoded once."""

import importlib
from types import ModuleType
from typing import Any

import pytest
from transformers import AutoTokenizer

from ireasoner.compat import vllm_token_names
from tests.conftest import MODEL


class Tokenizer:
    """Names tokens by their ids, and counts how often it is asked."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.asked: list[int] = []


def names(tokenizer: Tokenizer, token_ids: list[int]) -> list[str]:
    tokenizer.asked += token_ids
    return [f"{tokenizer.prefix}{token}" for token in token_ids]


def test_a_token_is_decoded_once_for_each_tokenizer() -> None:
    of = vllm_token_names.remembered(names)
    one, two = Tokenizer("a"), Tokenizer("b")
    assert of(one, [3, 5]) == ["a3", "a5"]
    assert of(one, [5, 4, 3, 5]) == ["a5", "a4", "a3", "a5"]
    assert of(two, [3]) == ["b3"]
    assert of(one, []) == []
    assert (one.asked, two.asked) == ([3, 5, 4], [3])


def test_a_tokenizer_that_ended_is_forgotten() -> None:
    of = vllm_token_names.remembered(names)
    for _ in range(3):
        tokenizer = Tokenizer("a")
        of(tokenizer, [1])
        assert tokenizer.asked == [1]


@pytest.mark.parametrize("token_ids", [[7, 7, 300], [436, 438, 441], list(range(443))])
def test_names_are_those_of_vllm(token_ids: list[int]) -> None:
    released: Any = importlib.import_module("vllm.tokenizers.detokenizer_utils").convert_ids_list_to_tokens
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    of = vllm_token_names.remembered(released)
    assert of(tokenizer, token_ids) == of(tokenizer, token_ids) == released(tokenizer, token_ids)


def test_the_module_of_vllm_asks_ours() -> None:
    module = ModuleType("logprobs")
    module.__dict__["convert_ids_list_to_tokens"] = names
    vllm_token_names.remember(module)
    tokenizer = Tokenizer("a")
    for _ in range(2):
        assert module.convert_ids_list_to_tokens(tokenizer, [1]) == ["a1"]
    assert tokenizer.asked == [1]


def test_vllm_is_repaired() -> None:
    logprobs: Any = importlib.import_module("vllm.v1.engine.logprobs")
    assert logprobs.convert_ids_list_to_tokens.__module__ == vllm_token_names.__name__
