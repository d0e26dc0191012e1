"""Where the answer is read from: elements, boxes, statements, last lines; and what a second turn or a cut changes."""

import pytest

from ireasoner.reward_server.parsing.rollout import parse_text
from ireasoner.reward_server.scoring_config import ScoringConfig
from ireasoner.reward_server.wire import FinishReason

TAG = ScoringConfig()
BOXED = ScoringConfig(answer_from="boxed")
ANY = ScoringConfig(answer_from="any")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("So \\boxed {7}.", "7"),
        ("So \\boxed\n{7}.", "7"),
        ("So \\fbox{7}.", "7"),
        ("So \\boxed7.", "7"),
        ("So $$\\boxed{7}$$", "7"),
        ("\\boxed{\\text{C}}", "C"),
        ("\\boxed{\\textbf{ C }}", "C"),
        ("\\boxed{\\mathrm{\\text{C}}}", "C"),
        ("\\boxed{\\text{7 cm}}", "7 cm"),
        ("\\boxed{7\\text{ cm}}", "7\\text{ cm}"),
        ("\\boxed{\\text{a}+\\text{b}}", "\\text{a}+\\text{b}"),
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("\\boxed{6}. No: \\boxed{7}", "7"),
        ("\\boxed{3} and \\boxed{4}", "3 and 4"),
        ("$\\boxed{3}$ and $\\boxed{4}$.", "3 and 4"),
        ("\\boxed{3} \\text{ and } \\boxed{4}", "3 and 4"),
        ("\\boxed{3}, \\boxed{4}", "3, 4"),
        ("\\boxed{3}, \\boxed{4}, and \\boxed{5}", "3, 4 and 5"),
        ("\\boxed{3}和\\boxed{4}", "3 and 4"),
        ("\\boxed{3} y \\boxed{4}", "3 and 4"),
        ("x = \\boxed{3} and y = \\boxed{4}", "x = 3 and y = 4"),
        ("\\boxed{3} apples. Then \\boxed{4}", "4"),
        ("\\boxed{3}\n\n\\boxed{4}", "4"),
        ("\\boxed{7}. As asked, it is in \\boxed{}.", "7"),
        ("I put it in \\boxed{ here. So \\boxed{7}", "7"),
        ("<think>\\boxed{6}</think> \\boxed{7}", "7"),
        ("<think>\\boxed{6}</think> so", "6"),
        ("\\boxed{7}\n\nHuman: and then?\n\\boxed{9}", "7"),
        ("\\boxed{7}\nUser: and?\nAssistant: \\boxed{9}", "7"),
        ("\\boxed{7}<|im_end|>\n<|im_start|>user\n\\boxed{9}", "7"),
        ("\\boxed{7}<|eot_id|>\\boxed{9}", "7"),
        ("\\boxed{7}\n### Human: and?\n\\boxed{9}", "7"),
        ("\\boxed{7}\n用户：然后呢？\n\\boxed{9}", "7"),
    ],
)
def test_boxes(text: str, written: str) -> None:
    for config in (BOXED, ANY):
        assert parse_text(text, config).written == written


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("\\boxed{7", "answer_not_closed"),
        ("\\boxed{\\frac{1}{2}", "answer_not_closed"),
        ("\\boxed{7}, later \\boxed{8", "answer_not_closed"),
        ("\\boxed{}", "empty_answer"),
        ("\\boxed{ } and \\boxed{}", "empty_answer"),
        ("boxed{7}", "no_answer"),
        ("\\boxedly{7}", "no_answer"),
        ("I do not know.\n\nHuman: try\n\\boxed{9}", "no_answer"),
        ("<think>hm</think>\nUser: try\n\\boxed{9}", "no_answer"),
    ],
)
def test_boxes_without_an_answer(text: str, flaw: str) -> None:
    assert parse_text(text, BOXED).flaw == flaw


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("I add.\n**Final Answer**\n7", "7"),
        ("I add. **Final Answer**\nParis", "Paris"),
        ("I add.\n\n**Final Answer**\n\n**7**", "7"),
        ("I add.\n\n**Final Answer:**\n7 cm", "7 cm"),
        ("I add.\n### Final Answer\n\n$$\n7\n$$", "7"),
        ("I add.\n## Answer\n```\n7\n```", "7"),
        ("I add.\nAnswer:\n- 7", "7"),
        ("Final Answer: 7", "7"),
        ("The answer is: **C**.", "C"),
        ("**Answer: C**", "C"),
        ("Answer: (B)", "(B)"),
        ("Answer: -5", "-5"),
        ("Answer: 5!", "5!"),
        ("Answer = 7", "7"),
        ("Answer - 7", "7"),
        ("Ans: 7", "7"),
        ("ANSWER: Paris", "Paris"),
        ("The answer is 3.5 cm. It is so.", "3.5 cm"),
        ("The answer is Dr. Smith. He is here.", "Dr. Smith"),
        ("The answer to the question is 7.", "7"),
        ("The answer would be 7.", "7"),
        ("The correct option is B.", "B"),
        ("The best choice is: C", "C"),
        ("So, option (C) is correct.", "C"),
        ("Option B is the right one? No, choice D is the correct answer.", "D"),
        ("The answer is **Yes**, because it is green.", "Yes"),
        ("**Answer:** The **cat** is left.", "The **cat** is left"),
        ("The answer is C. This is because it is red.", "C"),
        ("The answer is A. Lincoln.", "A. Lincoln"),
        ("【答案】C", "C"),
        ("故选C", "C"),
        ("The correct answer is option B.", "option B"),
        ("So the answer is 6. Wait, the answer is 7.", "7"),
        ("The answer is not 6.\nThe answer is 7. It is not 6.", "7"),
        ("The answer is 7. We can check that this answer is correct.", "7"),
        (
            "The answer is 7, and the answer is consistent with the graph.",
            "7, and the answer is consistent with the graph",
        ),
        ("Answer: 7\nI verify that the answer is correct!", "7"),
        ("The answer is 7. I think this answer is not wrong.", "7"),
        ("Which answer is it? Only one is red.\n\nB", "B"),
        ("I check that each answer is correct.\n\n(C)", "(C)"),
        ("The answer is 7. What answer is better?", "7"),
        ("The answer is 7.\n\nNote: the answer is rounded to the nearest integer.", "7"),
        ("The answer is 7. The answer is based on the graph.", "7"),
        ("The answer is found by adding. 3 + 4 = 7.\n\n7", "7"),
        ("The answer is 7. No, the answer is given.", "given"),
        ("The answer is right.", "right"),
        ("Is he right or wrong? The answer is wrong.", "wrong"),
        ("Is he right or wrong? The answer is right. No, the answer is wrong.", "wrong"),
        ("The answer is left. No, the answer is right.", "right"),
        ("The answer is correct. Wait.\nAnswer: incorrect", "incorrect"),
        ("The answer is correct. No, the answer is incorrect.", "incorrect"),
        ("答案：7", "7"),
        ("所以最终答案是7。因为如此。", "7。"),
        ("因此，答案为：7", "7"),
        ("答えは7です。", "7"),
        ("答え：7", "7"),
        ("정답: 7", "7"),
        ("답은 7입니다.", "7"),
        ("Respuesta: 7", "7"),
        ("La respuesta correcta es B.", "B"),
        ("La réponse est 7.", "7"),
        ("Réponse : 7", "7"),
        ("Die Antwort ist 7.", "7"),
        ("La risposta è 7.", "7"),
        ("A resposta é 7.", "7"),
        ("Ответ: 7", "7"),
        ("الإجابة: 7", "7"),
        ("उत्तर: 7", "7"),
        ("I add.\n#### 7", "7"),
        ("#### Sum\n3 + 4 = 7\n#### 1,234", "1,234"),
        ("I think.\nC", "C"),
        ("I think.\n\n(C)", "(C)"),
        ("I think.\n**C**", "C"),
        ("I think.\n$7$", "$7$"),
        ("It is red.\nYes.", "Yes"),
        ("C", "C"),
        ("-3.5", "-3.5"),
        ("<think>I add.</think>\n\nParis", "Paris"),
        ("<think>I add.</think>\n\nC", "C"),
        ("<think>The answer is 6.</think>\nThe answer is 7.", "7"),
        ("<think>maybe <answer>6</answer></think> \\boxed{7}", "7"),
        ("<think>a</think><answer>7</answer> \\boxed{8} Answer: 9", "7"),
        ("the answer is 7\nHuman: what?\nThe answer is 9", "7"),
        ("Assistant: I add. The answer is 7", "7"),
        ("Human: 5\nDog: 3\nThe answer is 8", "8"),
        ("<think>It says\nHuman: hello there\n</think>\nThe answer is 7", "7"),
    ],
)
def test_any_form_of_answer(text: str, written: str) -> None:
    assert parse_text(text, ANY).written == written


@pytest.mark.parametrize(
    "text",
    [
        "nothing of that kind",
        "The total is 7.",
        "The answer is not 6. Hmm.",
        "I will answer soon, and unanswered questions remain.",
        "The first option is red.",
        "<think>I add.</think>\n\nI do not know what this is about at all.",
        "Let me think.\n\nHuman: What is 2+2?\n\nAssistant: The answer is 4.",
        "<think>I add.</think>",
    ],
)
def test_no_answer_of_any_form(text: str) -> None:
    assert parse_text(text, ANY).flaw == "no_answer"


@pytest.mark.parametrize(
    ("text", "answer", "steps"),
    [
        ("I add. The final answer is: 7", "7", ["I add."]),
        ("I add.\n\n**Final Answer**\n\n7", "7", ["I add."]),
        ("I add.\n#### 7", "7", ["I add."]),
        ("I add.\nC", "c", ["I add."]),
        ("I add.\n\\boxed{3} and \\boxed{4}", "3 and 4", ["I add."]),
    ],
)
def test_the_answer_is_no_step(text: str, answer: str, steps: list[str]) -> None:
    parsed = parse_text(text, ANY)
    assert (parsed.answer, list(parsed.steps)) == (answer, steps)


@pytest.mark.parametrize(
    "text",
    [
        "<answer>7</answer>",
        "<ANSWER>7</Answer>",
        "< answer >7</ answer >",
        "<answer\n>7</answer\n>",
        '<answer type="number">7</answer>',
        "<answer><answer>7</answer></answer>",
        "<answer>7</answer><answer>8</answer>",
        "<answer>7</answer>\n\nHuman: and?\n<think>b</think><answer>9</answer>",
        "<think>a</think><answer>7</answer><|im_end|><|im_start|>assistant<think>b</think><answer>9</answer>",
        "<think>It says\nUser: 5 or <answer>6</answer></think><answer>7</answer>",
    ],
)
def test_answer_elements(text: str) -> None:
    for config in (TAG, ANY):
        assert parse_text(text, config).answer == "7"


@pytest.mark.parametrize(
    "text", ["<answers>7</answers>", "<answer 7", "answer>7</answer>", "<think>7</think>", "&lt;answer&gt;7"]
)
def test_no_answer_element(text: str) -> None:
    assert parse_text(text).flaw == "no_answer"


@pytest.mark.parametrize(
    ("text", "config", "steps"),
    [
        ("2 + 3 = 5. The answer is <answer>5</answer>.", TAG, ["2 + 3 = 5."]),
        ("1. 2 + 3 = 5\n2. Therefore, the final answer is: **<answer>5</answer>**", TAG, ["2 + 3 = 5"]),
        ("2 + 3 = 5.\n\n**Answer:**\n<answer>5</answer>", TAG, ["2 + 3 = 5."]),
        ("二加三等于五。答案是 <answer>5</answer>", TAG, ["二加三等于五。"]),
        *(
            (f"{mark} 2 + 3 = 5\n{mark} Answer: <answer>5</answer>", TAG, ["2 + 3 = 5"])
            for mark in ("-", "*", "•", ">")
        ),
        ("2 + 3 = 5.\n\n**Final Answer**\n<answer>5</answer>", TAG, ["2 + 3 = 5."]),
        ("2 + 3 = 5.\n### Final Answer\n$\\boxed{5}$", BOXED, ["2 + 3 = 5."]),
        ("2 + 3 = 5.\nFinal Answer: The final answer is $\\boxed{5}$.", BOXED, ["2 + 3 = 5."]),
        ("2 + 3 = 5. So the correct answer is $\\boxed{5}$.", BOXED, ["2 + 3 = 5."]),
        ("The answer is below 6. <answer>5</answer>", TAG, ["The answer is below 6."]),
        ("The answer is not <answer>5</answer>", TAG, ["The answer is not"]),
        ("It says that the answer is odd <answer>5</answer>", TAG, ["It says that the answer is odd"]),
    ],
)
def test_the_words_that_introduce_an_answer_are_no_step(
    text: str, config: ScoringConfig, steps: list[str]
) -> None:
    parsed = parse_text(text, config)
    assert parsed.answer == "5"
    assert list(parsed.steps) == steps


CUT = "answer_not_closed"


@pytest.mark.parametrize(
    ("text", "finish", "config", "answer", "flaw"),
    [
        ("<answer>7", None, TAG, None, CUT),
        ("<answer>7", "length", TAG, None, CUT),
        ("<answer>7", "stop", TAG, "7", None),
        ("<answer>7\n", "stop", TAG, "7", None),
        ("<answer>", "stop", TAG, None, "empty_answer"),
        ("<answer>7</answer", None, TAG, "7", None),
        ("<answer>7</ans", "length", TAG, "7", None),
        ("<answer>7</", None, TAG, "7", None),
        ("<answer>7</answer\n", None, TAG, "7", None),
        ("<answer>7</b", None, TAG, None, CUT),
        ("<answer>7 <", None, TAG, None, CUT),
        ("<answer>7</answer>", "length", TAG, "7", None),
        ("<think>so", "stop", TAG, None, "no_answer"),
        ("<answer>7", "stop", ANY, "7", None),
        ("<answer>7", None, ANY, None, CUT),
        ("\\boxed{7", "stop", BOXED, None, CUT),
        ("The answer is 12", "length", ANY, None, CUT),
        ("The answer is 12", "stop", ANY, "12", None),
        ("The answer is 12", None, ANY, "12", None),
        ("The answer is 12. Because", "length", ANY, "12", None),
        ("I add.\n\n**Answer:**", None, ANY, None, CUT),
        ("I add.\n1", "length", ANY, None, "no_answer"),
    ],
)
def test_a_stop_string_is_told_from_a_truncated_completion(
    text: str, finish: FinishReason | None, config: ScoringConfig, answer: str | None, flaw: str | None
) -> None:
    parsed = parse_text(text, config, finish)
    assert (parsed.answer, parsed.flaw) == (answer, flaw)
