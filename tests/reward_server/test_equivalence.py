"""Which answers are the same; sameness is an equivalence relation and does not depend on order."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ireasoner.reward_server.answers import comparer
from ireasoner.reward_server.answers.canonical import form_of
from ireasoner.reward_server.answers.comparer import ExpressionComparer
from ireasoner.reward_server.answers.equivalence import Clusters, cluster
from ireasoner.reward_server.answers.formula_worker import QUESTION_CPU_S
from ireasoner.reward_server.answers.number_words import number_in_words
from ireasoner.reward_server.child_process import ChildProcess
from ireasoner.reward_server.errors import FormulasUnavailable
from ireasoner.reward_server.scoring_config import ROBUST, ScoringConfig
from tests.examples import examples
from tests.reward_server.requests import Json, rollout, score_group

FRACTION = ROBUST.model_copy(update={"percent": "fraction"})
IGNORED = ROBUST.model_copy(update={"units": "ignored"})


SAME = [
    [
        "5",
        "+5",
        "5.0",
        "five",
        "5.",
        "**5**",
        "$5$",
        "\\boxed{5}",
        "x = 5",
        "The answer is 5.",
        "[5]",
        "10/2",
    ],
    ["-5", "\u22125", "\u20135", "(-5)", "minus five", "-5.00", "- 5"],
    [".5", "0.5", "0.50", "1/2", "\u00bd", "half", "one half", "\\frac{1}{2}", "$\\dfrac12$", "5e-1"],
    ["3.5", "3 1/2", "3\u00bd", "7/2", "three and a half", "3\\frac{1}{2}", "three point five"],
    ["1234", "1,234", "1 234", "1234.0", "one thousand two hundred and thirty-four"],
    ["1234567.5", "1,234,567.5", "1.234.567,5"],
    ["1500000", "1.5 million", "1.5e6", "1.5 \\times 10^{6}", "1,500,000"],
    ["50%", "50 %", "50\\%", "50 percent", "fifty percent", "50.0%"],
    ["5 cm", "5cm", "5 centimeters", "50 mm", "0.05 m", "5\\text{ cm}", "five centimetres"],
    ["$5", "5 dollars", "USD 5", "$5.00", "500 cents", "\\$5"],
    ["30\u00b0", "30 degrees", "$30^\\circ$", "30^{\\circ}"],
    [
        "B",
        "(b)",
        "b.",
        "B)",
        "[B]",
        "Option B",
        "answer: b",
        "(B) Paris",
        "(b) -3",
        "B) $\\frac{1}{2}$",
        "b) the red bar",
        "B. Paris",
        "B. the red bar",
        "B: 3.5 cm",
        "The answer is (B).",
    ],
    [
        "{1, 2, 3}",
        "\\{3, 2, 1\\}",
        "$\\{1,2,3\\}$",
        "1, 2 and 3",
        "3 and 2 and 1",
        "{1,1,2,3}",
        "one, two and 3",
    ],
    ["1, 2, 3", "(1, 2, 3)", "[1,2,3]", "1,2,3", "1; 2; 3", "one, two, three"],
    ["red, green", "green and red", "{Red, Green}", "Green, red."],
    ["x=2 or x=-2", "{2, -2}", "-2 and 2"],
    ["Yes", "yes.", '"YES"', "**yes**"],
    ["Paris", "paris!", "The answer is Paris", "answer: Paris"],
]
OTHERS = [
    ["5", "-5", ".5", "0.05", "50", "5/2", "five hundred"],
    ["1,5", "1.5", "15", "1, 5", "5, 1", "5,1"],
    ["0.333", "1/3", "0.33", "33%"],
    ["50%", "0.5", "50", "50 cm"],
    ["5 cm", "5", "5 kg", "5 m", "$5", "5 euros", "5 apples"],
    ["(1, 2)", "(2, 1)", "{1, 2}", "[1, 2]", "(1, 2]", "12", "1.2"],
    ["100,200", "100, 200", "(100,200)"],
    ["5-3", "2", "5/3/2", "2019-05-03", "2011"],
    ["12:30", "12.30", "1230"],
    ["a", "b", "c", "e", "i"],
    ["E", "E. coli", "E. faecalis", "C. elegans"],
    ["(x) + 3", "(x) - 3", "x", "(a) / 2", "a", "(a) \\cup (b)", "(i) + 1", "i"],
    ["A: 3, B: 4", "A: 3", "A: 4, B: 3", "(a) 3 (b) 4", "i. e", "x) 2"],
    ["third", "1/3", "3rd", "3"],
    ["two three", "5", "23", "2, 3"],
    ["yes", "no", "not yes"],
    ["1/0", "0", "infinity"],
    ["9" * 200 + "1", "9" * 200 + "2"],
]
ANSWERS = [answer for answers in [*SAME, *OTHERS] for answer in answers]


class Loop:
    """One event loop for all calls, on which the formula worker lives."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.comparer = ExpressionComparer()

    def cluster(self, answers: Sequence[str | None], config: ScoringConfig = ROBUST) -> Clusters:
        return self.runner.run(cluster(answers, config, self.comparer))


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    try:
        yield loop
    finally:
        loop.runner.run(loop.comparer.stop())
        loop.runner.close()


@pytest.mark.parametrize("answers", SAME)
def test_the_same_answer(loop: Loop, answers: list[str]) -> None:
    clusters = loop.cluster(answers)
    assert len(set(clusters.names)) == 1, {each: form_of(each, ROBUST).key for each in answers}
    assert clusters.not_compared == ()


@pytest.mark.parametrize("answers", OTHERS)
def test_different_answers(loop: Loop, answers: list[str]) -> None:
    names = loop.cluster(answers).names
    assert len(set(names)) == len(answers), names


@pytest.mark.parametrize(
    ("config", "same", "others"),
    [
        (FRACTION, ["50%", "0.5", "1/2", "50 percent"], ["50", "5%"]),
        (IGNORED, ["5 cm", "5", "5 kg", "$5"], ["50%", "5 apples", "50 mm"]),
    ],
)
def test_percent_and_units_are_equated_only_on_request(
    loop: Loop, config: ScoringConfig, same: list[str], others: list[str]
) -> None:
    names = loop.cluster([*same, *others], config).names
    assert len(set(names[: len(same)])) == 1
    assert len(set(names)) == 1 + len(others)


@pytest.mark.parametrize(
    "answers",
    [
        ["\\frac{\\sqrt{2}}{2}", "1/\\sqrt{2}", "sqrt(2)/2", "\u221a(2)/2"],
        ["2x+1", "1 + 2x", "$2(x+1)-1$"],
        ["2^10", "1024", "1,024", "2^{10}"],
        ["x > 2", "2 < x"],
        ["pi/4", "\\frac{\\pi}{4}", "\u03c0/4"],
        ["2\\pi", "2\u03c0", "2pi", "2 pi", "2*pi", "\\frac{4\\pi}{2}"],
        ["\\frac{3}{2}\\pi", "\\frac{3\\pi}{2}", "1.5\u03c0", "3\u03c0/2"],
        ["\u03c0/2", "0.5\u03c0", "1/2 \u03c0", "\\frac12 \\pi", "\\pi/2"],
        ["3\\alpha", "3\u03b1", "\\frac{6\\alpha}{2}"],
        ["(x-1)(x+1)", "x^2 - 1", "x\u00b2-1"],
        ["(a+b)^2", "a^2+2ab+b^2", "b^2 + 2ba + a^2"],
        ["b^2-4ac", "-4ac + b^2", "b^2 - 4ca"],
        ["xy=6", "2yx = 12", "xy - 6 = 0"],
    ],
)
def test_formulas_that_are_equal(loop: Loop, answers: list[str]) -> None:
    clusters = loop.cluster([*answers, "x+7", "3"])
    assert len(set(clusters.names[:-2])) == 1, clusters
    assert len(set(clusters.names)) == 3


@pytest.mark.parametrize(
    "answers",
    [
        ["x+y=5", "x-y=5", "5", "x+y"],
        ["P(A)=1/2", "P(B)=1/2", "1/2"],
        ["\\angle A = 30", "\\angle B = 30", "30"],
        ["2^{-60}", "2^{-61}", "2^{-62}", "0"],
        ["\\frac1{2^{99}}", "\\frac1{2^{98}}", "0"],
        ["e^{-40}", "e^{-50}", "1"],
        ["(\\pi, 0)", "\\{\\pi, 0\\}"],
        ["x < 2", "x \\le 2", "x > 2", "x = 2x - 2"],
        ["1/52!", "1/50!", "2004!", "2006!"],
        ["b^2-4ac", "b^2-4a", "4ac-b^2"],
        ["xy=6", "6", "x/y=6"],
        ["2\u03c0", "2", "2 pies", "2\u03b1", "3\u03c0", "2\u03c0 cm"],
        ["\\vec{a}\\times\\vec{b}", "\\vec{a}\\cdot\\vec{b}"],
        ["\\mathbf{a} \\times \\mathbf{b}", "\\mathbf{a} \\cdot \\mathbf{b}"],
        ["\\overrightarrow{AB} × \\overrightarrow{CD}", "\\overrightarrow{AB} · \\overrightarrow{CD}"],
        ["\\hat{i}\\times\\hat{j}", "\\hat{i}\\cdot\\hat{j}"],
        ["\\nabla \\times F", "\\nabla \\cdot F", "\\nabla F"],
        ["on/off", "off/on", "5th-3rd", "3rd-5th"],
    ],
)
def test_formulas_of_different_kinds_and_sizes_stay_apart(loop: Loop, answers: list[str]) -> None:
    clusters = loop.cluster(answers)
    assert len(set(clusters.names)) == len(answers), clusters
    assert clusters.not_compared == ()


def test_equal_lines_join_and_no_chain_leads_to_a_number(loop: Loop) -> None:
    lines = ["2x+4y-3=0", "x+2y=3/2", "y=-1/2*x+3/4"]
    clusters = loop.cluster([*lines, "3/2", "2+3=5", "5", "x+y=5"])
    assert len(set(clusters.names[:3])) == 1
    assert clusters.names[4] == clusters.names[5]
    assert len(set(clusters.names)) == 4


HANGING = (
    "".join(rf"\sin\frac{{{k}\pi}}{{37}}" for k in range(1, 19)),
    r"\frac{\sqrt{37}}{2^{18}}",
)
"""Two equal numbers; SymPy does not find that out within minutes."""


def running_child(comparer: ExpressionComparer) -> ChildProcess:
    assert comparer._child is not None
    return comparer._child


def test_a_pair_that_hangs_is_given_up_and_reported(loop: Loop) -> None:
    answers = [*HANGING, "2^3", "8"]
    clusters = loop.cluster(answers)
    assert len(set(clusters.names)) == 3
    assert [each for each in clusters.not_compared if each.endswith("not decided within 0.5 s")]
    assert clusters.names[2] == clusters.names[3]
    worker = running_child(loop.comparer).pid
    assert loop.cluster(answers) == clusters
    assert len(set(loop.cluster(["y+40", "40+y"]).names)) == 1
    assert running_child(loop.comparer).pid == worker, "it needs no new start"


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("9^{9^{9^{9^9}}}", "too large"),
        ("\\frac{1}{(10^9)!}", "too large"),
        ("\\sin(e^{10^6})", "too large"),
        ("\\frac{1}{2-2}", "not defined"),
        ("\\tan\\frac{\\pi}{2}", "no value"),
        ("1/2x", "ambiguous"),
        ("x 2+1", "ambiguous"),
    ],
)
def test_a_formula_that_cannot_be_compared_stays_apart_and_is_reported(
    loop: Loop, formula: str, reason: str
) -> None:
    clusters = loop.cluster([formula, "x+1", "1+x"])
    assert len(set(clusters.names)) == 2
    [reported] = clusters.not_compared
    assert reported.startswith(form_of(formula, ROBUST).expression or "none")
    assert reason in reported


def asked(loop: Loop, formulas: Sequence[str]) -> tuple[int, int]:
    """How many formulas were read, and how many pairs compared, for this group."""
    before = loop.comparer.asked.copy()
    loop.runner.run(loop.comparer.equal(formulas))
    new = loop.comparer.asked - before
    return new["read"], new["compare"]


def test_the_work_is_linear_in_the_formulas(loop: Loop) -> None:
    circles = [f"(x-{a})^2+(y+{b})^2={r}" for a in range(1, 5) for b in range(1, 5) for r in (5, 7)]
    assert asked(loop, circles) == (32, 0)
    assert asked(loop, circles) == (0, 0), "they are remembered"
    same = [f"{n}x+{n}y-{3 * n}=0" for n in range(1, 17)]
    assert asked(loop, same) == (16, 0), "their normal forms are equal"
    sines = [r"\sin 2x", r"2\sin x\cos x", r"\sin 3x", r"\sin 4x"]
    assert asked(loop, sines) == (4, 1), "only the pair whose values agree is compared"


def test_the_work_of_a_group_is_bounded_and_the_rest_reported(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparer, "GROUP_CPU_S", 0.9)
    hanging = [f"{number}+{n}" for number in HANGING for n in range(9)]
    equal = loop.runner.run(loop.comparer.equal([*hanging, "x+61", "61+x"]))
    assert equal.cpu_s <= 0.9
    assert equal.classes == [["61+x", "x+61"]]
    assert len([each for each in equal.not_compared if "not decided" in each]) == 1
    assert equal.not_compared[-1] == "8 pairs: the group's 0.9 s of processor time are used up"
    assert loop.runner.run(loop.comparer.equal([*hanging, "x+61", "61+x"])) == equal, "whatever is remembered"


def test_a_light_group_waits_for_one_question_of_a_heavy_one_at_most(loop: Loop) -> None:
    async def both() -> int:
        heavy = asyncio.create_task(loop.comparer.equal([f"x^2+{n}" for n in range(40)]))
        while loop.comparer.asked["read"] < before + 30:
            await asyncio.sleep(0)
        await loop.comparer.equal(["y+81", "81+y", "y-81"])
        asked_until_light = loop.comparer.asked["read"]
        await heavy
        return asked_until_light

    before = loop.comparer.asked["read"]
    assert loop.runner.run(both()) <= before + 30 + 3 + 1
    assert loop.comparer.asked["read"] == before + 43


def test_a_busy_machine_changes_no_result(loop: Loop) -> None:
    """The worker is stopped for longer than the processor time that a question may take."""
    assert len(set(loop.cluster(["y+47", "47+y"]).names)) == 1
    child = running_child(loop.comparer)

    async def held_up() -> Clusters:
        os.kill(child.pid, signal.SIGSTOP)
        asking = asyncio.create_task(cluster(["y+48", "48+y"], ROBUST, loop.comparer))
        await asyncio.sleep(QUESTION_CPU_S + 0.5)
        os.kill(child.pid, signal.SIGCONT)
        return await asking

    clusters = loop.runner.run(held_up())
    assert len(set(clusters.names)) == 1
    assert clusters.not_compared == ()


def test_a_starved_comparison_is_an_error_and_is_not_remembered(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(set(loop.cluster(["y+49", "49+y"]).names)) == 1
    monkeypatch.setattr(comparer, "STARVED_S", 0.2)
    os.kill(running_child(loop.comparer).pid, signal.SIGSTOP)
    with pytest.raises(FormulasUnavailable):
        loop.cluster(["y+50", "50+y"])
    monkeypatch.undo()
    assert len(set(loop.cluster(["y+50", "50+y"]).names)) == 1


def test_a_worker_killed_from_outside_changes_no_result(loop: Loop) -> None:
    assert len(set(loop.cluster(["y+51", "51+y"]).names)) == 1
    child = running_child(loop.comparer)

    async def ended() -> Clusters:
        os.kill(child.pid, signal.SIGSTOP)
        asking = asyncio.create_task(cluster(["y+52", "52+y"], ROBUST, loop.comparer))
        await asyncio.sleep(0.1)
        os.kill(child.pid, signal.SIGKILL)
        return await asking

    clusters = loop.runner.run(ended())
    assert len(set(clusters.names)) == 1
    assert clusters.not_compared == ()


def test_a_killed_worker_is_replaced(loop: Loop) -> None:
    assert len(set(loop.cluster(["y+42", "42+y"]).names)) == 1
    child = running_child(loop.comparer)
    os.kill(child.pid, signal.SIGKILL)
    assert loop.runner.run(child.ended()).endswith("got signal 9")
    assert len(set(loop.cluster(["y+43", "43+y"]).names)) == 1


def test_a_cancelled_comparison_leaves_no_answer_behind(loop: Loop) -> None:
    async def cancelled() -> None:
        asking = asyncio.create_task(cluster(HANGING, ROBUST, loop.comparer))
        await asyncio.sleep(0.5)
        asking.cancel()
        await asyncio.wait([asking])

    loop.runner.run(cancelled())
    assert len(set(loop.cluster(["y+44", "44+y"]).names)) == 1
    assert len(set(loop.cluster(["y+45", "y+46"]).names)) == 2


def test_a_comparison_cancelled_while_the_worker_starts_leaves_no_answer_behind() -> None:
    async def scenario() -> list[list[list[str]]]:
        comparer = ExpressionComparer()
        asking = asyncio.create_task(comparer.equal(["y+1", "1+y"]))
        await asyncio.sleep(0.2)
        asking.cancel()
        await asyncio.wait([asking])
        try:
            pairs = [("y+2", "2+y"), ("y+3", "y+4"), ("y+5", "5+y")]
            return [(await comparer.equal(pair)).classes for pair in pairs]
        finally:
            await comparer.stop()

    assert asyncio.run(scenario()) == [[["2+y", "y+2"]], [], [["5+y", "y+5"]]]


WRITTEN = [
    *["5", "five", "5.0", "-5", "minus 5", "1/2", "0.5", "50%", "half", "(b)", "B", "b. no", "5 cm", "50 mm"],
    *[
        "1, 2",
        "(1,2)",
        "{2,1}",
        "1 and 2",
        "2^2",
        "4",
        "x+1",
        "1+x",
        "yes",
        "Yes.",
        "",
        "...",
        "\u00bd",
        "\\frac12",
    ],
]
GROUPS = st.lists(st.one_of(st.sampled_from(WRITTEN), st.none(), st.text(max_size=12)), max_size=8)


@given(answers=GROUPS, data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_sameness_is_an_equivalence_relation_and_does_not_depend_on_order(
    loop: Loop, answers: list[str | None], data: st.DataObject
) -> None:
    answers = [None if answer is None else " ".join(answer.split()) or None for answer in answers]
    clusters = loop.cluster(answers)
    order = data.draw(st.permutations(range(len(answers))))
    shuffled = loop.cluster([answers[index] for index in order])
    assert [clusters.names[index] for index in order] == shuffled.names
    assert clusters.members == shuffled.members
    for one, first in zip(answers, clusters.names, strict=True):
        assert (first is None) == (one is None)
        for other, second in zip(answers, clusters.names, strict=True):
            if one == other:
                assert first == second
    written = [member.answer for members in clusters.members.values() for member in members]
    assert sorted(written) == sorted({answer for answer in answers if answer is not None})


@given(value=st.fractions(-(10**6), 10**6), data=st.data())
@settings(max_examples=examples(200), deadline=None)
def test_ways_to_write_a_number(value: Fraction, data: st.DataObject) -> None:
    ways = [f"{value.numerator}/{value.denominator}", f"\\frac{{{value.numerator}}}{{{value.denominator}}}"]
    if value.denominator == 1:
        ways += [f"{value.numerator:,}", f"{value.numerator}.00", f"$ {value.numerator} $"]
    keys = {form_of(way, ROBUST).key for way in [*ways, str(value)]}
    assert len(keys) == 1


@given(text=st.text(max_size=40))
@settings(max_examples=examples(300), deadline=None)
def test_every_answer_has_one_form(text: str) -> None:
    form = form_of(text, ROBUST)
    assert form == form_of(text, ROBUST)
    assert form.key


ONES = ["zero", "one", "two", "three", "nine", "ten", "twelve", "fifteen", "nineteen"]
VALUES = [0, 1, 2, 3, 9, 10, 12, 15, 19]
NO_NUMBERS = ["", "third", "a", "and", "five two", "hundred and", "point", "one million two million"]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        *zip(ONES, VALUES, strict=True),
        ("twenty-one", 21),
        ("ninety nine", 99),
        ("one hundred and five", 105),
        ("two thousand and five", 2005),
        ("a million", 10**6),
        ("three million two hundred thousand and one", 3_200_001),
        ("two thirds", Fraction(2, 3)),
        ("a quarter", Fraction(1, 4)),
        ("one and three quarters", Fraction(7, 4)),
        ("negative one point zero five", Fraction(-21, 20)),
        ("a dozen", 12),
        *[(text, None) for text in NO_NUMBERS],
        *[
            (text, None)
            for text in ("twenty twenty", "six feet", "zero hundred", "one point ten", "half third")
        ],
    ],
)
def test_number_words(words: str, value: Fraction | int | None) -> None:
    assert number_in_words(words) == value


def test_the_explanation_over_http(compass_http: httpx.Client) -> None:
    answers = ["2", "two", "2.0", "2", "3", None]
    config = {"equivalence": "value"}
    scored = score_group(compass_http, "outcome", [rollout(each) for each in answers], config=config)
    assert [each["answer"] for each in scored["rollouts"]] == ["2", "2", "2", "2", "3", None]
    assert scored["clusters"] == [
        {
            "answer": "2",
            "count": 4,
            "members": [
                {"answer": "2", "count": 2, "rules": []},
                {"answer": "2.0", "count": 1, "rules": ["decimal"]},
                {"answer": "two", "count": 1, "rules": ["number words"]},
            ],
        },
        {"answer": "3", "count": 1, "members": [{"answer": "3", "count": 1, "rules": []}]},
    ]
    assert (scored["dominant_share"], scored["rollouts"][5]["status"]) == (4 / 6, "invalid")
    assert "not_compared" not in scored
    assert scored["rollouts"][0]["reward"] == pytest.approx((4 / 6) ** 0.7)


@pytest.mark.parametrize("detail", ["full", "rewards"])
def test_uncompared_formulas_are_reported_over_http(compass_http: httpx.Client, detail: str) -> None:
    texts = [rollout("8^{8^{8^{8^8}}}"), rollout("17")]
    scored = score_group(compass_http, "outcome", texts, config="robust", detail=detail)
    assert len(scored["not_compared"]) == 1
    assert scored["tie"] is True


def test_simultaneous_requests_get_what_each_alone_gets(compass_http: httpx.Client) -> None:
    def asked(number: int) -> Json:
        texts = [rollout(f"x+{number}"), rollout(f"{number}+x"), rollout(f"{number}")]
        return score_group(compass_http, "outcome", texts, config="robust")

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(asked, range(8)))
    assert together == [asked(number) for number in range(8)]
    assert all(scored["clusters"][0]["count"] == 2 for scored in together)
