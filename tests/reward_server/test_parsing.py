"""What is read out of a rollout's text."""

import pytest

from services.reward_server.answers import normalise_answer
from services.reward_server.parsing import parse_text, parsed_before


@pytest.mark.parametrize(
    ("thinking", "steps"),
    [
        ("Step 1: read\nStep 2: add", ["read", "add"]),
        ("1. read\n2. add", ["read", "add"]),
        ("1) read\n 2) add", ["read", "add"]),
        ("(1) read\n(2) add", ["read", "add"]),
        ("1: read\n2: add", ["read", "add"]),
        ("**Step 1:** read\n**Step 2**: add", ["read", "add"]),
        ("- Step 1: read\n* Step 2 - add", ["read", "add"]),
        ("### Step 1\nread\n### Step 2\nadd", ["read", "add"]),
        ("STEP 1: read\nand look\n\nstep 2: add", ["read and look", "add"]),
        ("First I look.\n1. read", ["read"]),
        ("1. it is\n3.5 cm wide\n2. add", ["it is 3.5 cm wide", "add"]),
        ("1. at\n12:30 it rings", ["at 12:30 it rings"]),
        ("1.\n2. add", ["add"]),
        ("Step 1: -5 + 3", ["-5 + 3"]),
        ("<step>read</step> <step>add</step>", ["read", "add"]),
        ("<step 1>1. read</step>\n<STEP>add <step>tell", ["read", "add", "tell"]),
        ("no steps at all", ["no steps at all"]),
        ("", []),
    ],
)
def test_steps(thinking: str, steps: list[str]) -> None:
    parsed = parse_text(f"<think>{thinking}</think><answer>7</answer>")
    assert (list(parsed.steps), parsed.answer) == (steps, "7")


@pytest.mark.parametrize(
    ("text", "answer", "flaw", "words"),
    [
        ("<think>a b</think><answer>7</answer>", "7", None, 2),
        ("<think> a b </think>\n<answer> 7 </answer> and more", "7", None, 4),
        ("<THINK>a</THINK><Answer>7</ANSWER>", "7", None, 1),
        ("opened before</think><answer>7</answer>", "7", None, 2),
        ("<think>it says <answer>6</answer> </think> <answer>7</answer>", "7", None, 4),
        ("<answer>7</answer></think>", "7", None, 0),
        ("<answer>7</answer><answer>8</answer>", "7", None, 0),
        ("a b c", None, "no_answer", 3),
        ("a <answer>7", None, "answer_not_closed", 1),
        ("<answer></answer>", None, "empty_answer", 0),
        ("<answer> -. </answer>", None, "empty_answer", 0),
        ("", None, "no_answer", 0),
    ],
)
def test_answers_and_words(text: str, answer: str | None, flaw: str | None, words: int) -> None:
    parsed = parse_text(text)
    assert (parsed.answer, parsed.flaw, parsed.words) == (answer, flaw, words)


def test_only_the_thinking_before_the_answer_holds_steps() -> None:
    parsed = parse_text("1. not yet <think>\n1. read</think>\n2. too late<answer>7</answer>\n3. no")
    assert parsed.steps == ("read",)


def test_thinking_need_not_be_closed() -> None:
    assert parse_text("<think>1. read\n2. add <answer>7</answer>").steps == ("read", "add")


def test_what_was_parsed_before_is_folded_alike() -> None:
    parsed = parsed_before(" Seven. ", ["read  the\nrow", " ", "add"])
    assert (parsed.answer, parsed.steps, parsed.words) == ("seven", ("read the row", "add"), 4)
    assert parsed_before(None, []).flaw == "no_answer"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", " 7. "),
        ("Yes", "yes!"),
        ("New  York", "new\nyork"),
        ("1,234", "1234"),
        ("12,345,678", "12345678."),
        ("about 1,500 km", "About 1500 km"),
        ("(b)", "B"),
        ("**7**", '"7"'),
        ("-5", "(-5)"),
        (".5", "'.5'"),
    ],
)
def test_the_same_answer(one: str, other: str) -> None:
    assert normalise_answer(one) == normalise_answer(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-5", "5"),
        ("\u20135", "5"),
        ("-.5", ".5"),
        (".5", "5"),
        ("1,5", "15"),
        ("1,2345", "12345"),
        ("0,125", "0125"),
        ("1,2,3", "123"),
        ("1,234,56", "123456"),
        ("50%", "50"),
        ("$5", "5"),
        ("a b", "ab"),
    ],
)
def test_another_answer(one: str, other: str) -> None:
    assert normalise_answer(one) != normalise_answer(other)


PIECES = ["<think>", "<step", "<step a", "</step>", "<answer>", "1. ", "Step 1", "*", "- ", "1,234", "("]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.timeout(20)
def test_a_megabyte_of_anything_is_read_in_linear_time(piece: str) -> None:
    megabyte = piece * (2**20 // len(piece))
    parse_text(megabyte)
    parse_text(f"<think>{megabyte}</think><answer>{megabyte}</answer>")
