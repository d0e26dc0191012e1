"""Reading a text takes work in proportion to its length, whatever it repeats."""

import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
import sentencex

from ireasoner.reward_server.parsing.rollout import parse_text
from ireasoner.reward_server.scoring_config import ScoringConfig

REPEATED = [
    *(
        "<think>",
        "</think>",
        "<think",
        "<answer>",
        "<answer ",
        "</answer",
        "</answer>",
        "<step>",
        "<step a",
        "</step>",
    ),
    *(
        "<",
        "< ",
        "1. ",
        "1) ",
        "(1) ",
        " 2)",
        "1.",
        "Step 1",
        "Step 1: ",
        "Step 1: a\n",
        "step one ",
        "第一步",
        "1、",
        "①",
    ),
    *(
        "1. a:\n",
        "1. :\n",
        "  1. a\n",
        "- a\n  - b\n",
        "a) ",
        "# ",
        "#### 7\n",
        "> ",
        "- ",
        "---\n",
        "- - - ",
        "## T\n",
    ),
    *(
        "*",
        "**",
        "_",
        "**a ",
        "**T**\n",
        "Step 1: a\nb\n\nc.\n\n",
        "### Step 1: a\n\nb. c.\n\n",
        "| a | b |\n",
        "A) x\n",
    ),
    *(
        "`",
        "```\n",
        "```\na\n",
        "$",
        "$a ",
        "$5 ",
        "$$",
        "$$\n",
        "$$\n$$\n",
        "\\(",
        "\\[\n",
        "\\]\n",
        "\\begin{align}\n",
    ),
    *(
        "\\boxed{",
        "\\boxed ",
        "\\boxed{}",
        "\\boxed{7} and ",
        "\\text{",
        "{",
        "}",
        "\\",
        "(",
        ")",
        "()",
        "[",
        "3.14",
        "9.",
    ),
    *(
        ".",
        ". ",
        ". A",
        "... A ",
        "? ",
        "Mr. ",
        "A. ",
        "«",
        "“",
        "”",
        '"',
        "' ",
        "。",
        "我看图。",
        "।",
        ",",
        ":\n",
        "|",
        "=",
    ),
    *(
        "\n",
        "\n\n",
        " \n",
        " ",
        "\t",
        "　",
        "\u2028",
        "\r\n",
        "a",
        "a ",
        "a\n",
        "A a\n",
        "\x00",
        "😀",
        "e\u0301",
    ),
    *(
        "answer is ",
        "answer: ",
        "answer",
        "Answer:\n",
        "**Answer**\n",
        "answer to a ",
        "the final ",
        "答案：",
        "not ",
        "is ",
    ),
    *(
        "Human:",
        "\nHuman: ",
        "\nHuman: 5",
        "\nHuman:  \t",
        "<|im_end|>",
        "</s>",
        "http://a.b ",
        "eq. 3 ",
        "1️⃣ ",
    ),
]
AROUND = [
    "{}",
    "<think>a. b.</think>{}",
    "1. a\n{}",
    "<step>Step 1: a {} 2) b</step>",
    "1) {} 2) b",
    "\\boxed{{{}}}",
    "{}<answer>7</answer>",
]
CONFIG = ScoringConfig(max_steps=64, answer_from="any")


def texts(repeated: str, characters: int) -> Iterator[str]:
    for around in AROUND:
        yield around.format(repeated * (characters // len(repeated)))
    half = characters // 2 // len(repeated)
    yield f"<think>1) {repeated * half}{' 2)' * (characters // 6)}</think><answer>{repeated * half}</answer>"


def calls_while_reading(text: str) -> int:
    """How often Python code calls anything, itself or the library, while `text` is read."""
    count = 0

    def counted(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    parse_text(text[:64], CONFIG)  # what is built at first use
    sys.setprofile(counted)
    try:
        parse_text(text, CONFIG)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("repeated", REPEATED)
def test_twice_the_text_takes_at_most_twice_the_calls(repeated: str) -> None:
    for once, twice in zip(texts(repeated, 500), texts(repeated, 1_000), strict=True):
        assert calls_while_reading(twice) <= 2.2 * calls_while_reading(once) + 100, twice[:40]


@pytest.mark.parametrize(
    "repeated", ["我看图。", "。", "a", "A. ", '"', "“", "Mr. ", "It is red. ", "x = 3 ", "It is 3. "]
)
def test_the_sentence_library_sees_each_character_few_times_in_small_pieces(
    repeated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[int] = []
    segment = sentencex.segment

    def counted(language: str, text: str) -> list[str]:
        pieces.append(len(text))
        found: list[str] = segment(language, text)
        return found

    monkeypatch.setattr("sentencex.segment", counted)
    text = repeated * (20_000 // len(repeated))
    parse_text(f"<think>I see {text}</think><answer>7</answer>", CONFIG)
    assert max(pieces) <= 512
    assert sum(pieces) <= 3 * len(text)


def seconds(text: str) -> float:
    """The least processor time of several tries."""
    tries = []
    for _ in range(3):
        start = time.process_time()
        parse_text(text, CONFIG)
        tries.append(time.process_time() - start)
    return min(tries)


@pytest.mark.slow
@pytest.mark.parametrize("repeated", REPEATED)
def test_regular_expressions_take_linear_time(repeated: str) -> None:
    """Their work cannot be counted: 4 times the text may take 9 times as long here, where a square takes 16."""
    for once, more in zip(texts(repeated, 12_000), texts(repeated, 48_000), strict=True):
        took = seconds(more)
        assert took < 0.05 or took < 9 * seconds(once), more[:40]


def test_a_bracket_is_counted_once() -> None:
    once, twice = (f"<think>1) {'(' * n}{' 2)' * n}</think><answer>7</answer>" for n in (2_000, 4_000))
    assert calls_while_reading(twice) < 2.1 * calls_while_reading(once)
    assert parse_text(once).answer == "7"
