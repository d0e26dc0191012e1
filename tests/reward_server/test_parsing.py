"""What is read from a rollout's text."""

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ireasoner.reward_server.answers.normalise import normalise_answer
from ireasoner.reward_server.parsing.rollout import parse_text, parsed_before
from ireasoner.reward_server.scoring_config import ScoringConfig
from tests.examples import examples
from tests.reward_server.requests import group, score


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
        ("First I look.\n1. read", ["First I look.", "read"]),
        ("1. it is\n3.5 cm wide\n2. add", ["it is 3.5 cm wide", "add"]),
        ("1. at\n12:30 it rings", ["at 12:30 it rings"]),
        ("1.\n2. add", ["add"]),
        ("Step 1: -5 + 3", ["-5 + 3"]),
        ("<step>read</step> <step>add</step>", ["read", "add"]),
        ("<step 1>1. read</step>\n<STEP>add <step>tell", ["read", "add", "tell"]),
        ("no steps at all", ["no steps at all"]),
        ("Step 1: read Step 2: add **Step 3:** tell", ["read", "add", "tell"]),
        ("1) read 2) add the 3 digits 3) tell", ["read", "add the 3 digits", "tell"]),
        ("(1) read (2) add", ["read", "add"]),
        ("1. Look at it. 2. Add. 3. Tell.", ["Look at it.", "Add.", "Tell."]),
        ("We do 1) read 2) add", ["We do", "read", "add"]),
        ("1. The sum of 1 and 1 is 2\n2. So 2.", ["The sum of 1 and 1 is 2", "So 2."]),
        ("Step 1: as in step 2 we look\nStep 2: add", ["as in step 2 we look", "add"]),
        ("Step 1: as in Step 2: look\nStep 2: add", ["as in Step 2: look", "add"]),
        ("1. the sum is\n12. That is\n2. a dozen", ["the sum is 12. That is", "a dozen"]),
        ("2.5 is half of it\n3.5 cm is more", ["2.5 is half of it 3.5 cm is more"]),
        (
            "I look at row 2. It reads 2, 4. So 2+4 = 6!",
            ["I look at row 2.", "It reads 2, 4.", "So 2+4 = 6!"],
        ),
        (
            "It is 3.5 cm wide, e.g. Fig. 3 shows\nthat. Done.",
            ["It is 3.5 cm wide, e.g. Fig. 3 shows that.", "Done."],
        ),
        ("First I look\n\nThen I add", ["First I look", "Then I add"]),
        ("- look at it\n- add\n* tell", ["look at it", "add", "tell"]),
        ("<think>Step 1: nested</think> <think>\nStep 2: twice", ["nested", "twice"]),
        ("<step>read <step>again</step></step> <step>add", ["read", "again", "add"]),
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
        ("<answer><answer>7</answer></answer>", "7", None, 0),
        ("<think>a <think>b</think> c</think><answer>7</answer>", "7", None, 3),
        ("<think>a b <answer>7</answer>", "7", None, 2),
        ("no tags but 7", None, "no_answer", 4),
        ("so \\boxed{7}", None, "no_answer", 2),
    ],
)
def test_answers_and_words(text: str, answer: str | None, flaw: str | None, words: int) -> None:
    parsed = parse_text(text)
    assert (parsed.answer, parsed.flaw, parsed.words) == (answer, flaw, words)


def test_only_the_thinking_before_the_answer_has_steps() -> None:
    parsed = parse_text("1. not yet <think>\n1. read</think>\n2. too late<answer>7</answer>\n3. no")
    assert parsed.steps == ("read",)


def test_thinking_need_not_be_closed() -> None:
    assert parse_text("<think>1. read\n2. add <answer>7</answer>").steps == ("read", "add")


PIECES = [
    "<think>",
    "<step",
    "<step a",
    "</step>",
    "<answer>",
    "1. ",
    "Step 1",
    "*",
    "- ",
    "1,234",
    "(",
    ". A",
    "\\boxed{",
    "1) ",
    "answer is ",
]
BOXED = ScoringConfig(answer_from="boxed")
ANY = ScoringConfig(answer_from="any")
QWEN = ScoringConfig(think_tag="reasoning", answer_tag="final", step_tag="s")


@pytest.mark.parametrize(
    ("text", "config", "answer", "flaw", "steps"),
    [
        ("Step 1: add. \\boxed{7}", BOXED, "7", None, ["add."]),
        ("<think>1. \\boxed{6}\n2. add</think> So \\boxed{\\frac{1}{2}}.", BOXED, "frac{1}{2", None, None),
        ("<think>1. look</think> It is \\boxed{6} or \\boxed{7}", BOXED, "7", None, ["look"]),
        ("\\boxed{7", BOXED, None, "answer_not_closed", None),
        ("\\boxed{ }", BOXED, None, "empty_answer", None),
        ("<answer>7</answer>", BOXED, None, "no_answer", None),
        ("1. look <answer>7</answer> \\boxed{8}", ANY, "7", None, ["look"]),
        ("1. look <answer>7", ANY, None, "answer_not_closed", ["look"]),
        ("1. look \\boxed{8} The answer is 9", ANY, "8", None, ["look"]),
        ("1. look\nThe answer is wrong.\n**Answer:** 9.", ANY, "9", None, None),
        ("I look. The final answer is: 7", ANY, "7", None, None),
        ("nothing of that kind", ANY, None, "no_answer", None),
        ("<reasoning><s>look</s><s>add</s></reasoning><final>7</final>", QWEN, "7", None, ["look", "add"]),
        ("<think>1. look</think><answer>7</answer>", QWEN, None, "no_answer", None),
    ],
)
def test_other_tags_and_boxes(
    text: str, config: ScoringConfig, answer: str | None, flaw: str | None, steps: list[str] | None
) -> None:
    parsed = parse_text(text, config)
    assert (parsed.answer, parsed.flaw) == (answer, flaw)
    assert steps is None or list(parsed.steps) == steps


WORDS = (
    st.text(st.sampled_from("abcdefgh ,+=%"), min_size=1).map(str.strip).filter(lambda text: text.strip("* "))
)
WELL_FORMED = st.lists(
    st.tuples(WORDS, st.sampled_from(["", " 3.5 cm", " is 2.", " (see 3)"])), min_size=1, max_size=8
)


@given(steps=WELL_FORMED, style=st.sampled_from(["Step {}: ", "{}. ", "{}) "]), answer=st.integers(0, 99))
@settings(max_examples=examples(300), deadline=None)
def test_well_formed_text_is_read_as_written(steps: list[tuple[str, str]], style: str, answer: int) -> None:
    written = [" ".join(f"{words}{end}".split()) for words, end in steps]
    lines = "\n".join(style.format(number) + step for number, step in enumerate(written, start=1))
    parsed = parse_text(f"<think>{lines}</think><answer>{answer}</answer>")
    assert list(parsed.steps) == written
    assert (parsed.answer, parsed.flaw) == (str(answer), None)
    assert parsed.words == len(f"<think>{lines}</think>".split())


@given(
    text=st.lists(
        st.sampled_from([*PIECES, "a", " ", "\n", "2) ", "</think>", "</answer>", "\\boxed{", "}"])
    ).map("".join)
)
@settings(max_examples=examples(300), deadline=None)
def test_any_text_is_read(text: str) -> None:
    for config in (ScoringConfig(), BOXED, ANY, QWEN):
        parsed = parse_text(text, config)
        assert (parsed.answer is None) == (parsed.flaw is not None)
        assert all(step == " ".join(step.split()) and step for step in parsed.steps)


@pytest.mark.parametrize("style", ["Step {}: ", "**Step {}:** ", "- Step {}: ", "{}. ", "{}) ", "({}) "])
@pytest.mark.parametrize("endpoint", ["outcome", "trajectory", "solver", "proposer"])
def test_the_paper_preset_rewards_well_formed_text_as_if_it_were_sent_in_parts(
    compass_http: httpx.Client, endpoint: str, style: str
) -> None:
    answers = ["7", "7", "7", "-5", "Paris"]
    steps = [
        ["east north", "north east", "south."],
        ["east", "north."],
        ["north 3.5 e.g. west"],
        ["east"],
        ["west"],
    ]
    texts = [
        "<think>"
        + "\n".join(style.format(n) + step for n, step in enumerate(each, 1))
        + f"</think><answer>{answer}</answer>"
        for answer, each in zip(answers, steps, strict=True)
    ]
    in_parts = [
        {"id": str(i), "answer": answer, "steps": each}
        for i, (answer, each) in enumerate(zip(answers, steps, strict=True))
    ]
    written = score(compass_http, endpoint, group(texts), config="paper")["groups"]
    sent = score(compass_http, endpoint, {"id": "g", "rollouts": in_parts}, config="paper")["groups"]
    assert written == sent


def test_parsed_rollouts_are_folded_in_the_same_way() -> None:
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
def test_different_answers(one: str, other: str) -> None:
    assert normalise_answer(one) != normalise_answer(other)
