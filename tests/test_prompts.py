"""The prompts, and which completions hold a question."""

import pytest

from ireasoner.trainer.rollouts.prompts import parse_question, proposer_messages, solver_messages


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("<question>What is it?</question>", "What is it?"),
        ("Here it is: <question>\n What \n is it? </question> Good luck.", "What is it?"),
        ("<Question>What is it?</Question>", "What is it?"),
        ("What is it?", "What is it?"),
        ("\n Which row  has 2 and 9? \n", "Which row has 2 and 9?"),
        ("図の数字は何ですか？", "図の数字は何ですか？"),
        ("What is it", None),
        ("Is it 7? It is 8.", None),
        ("Is it 7? Or is it 8?", None),
        ("The grid shows digits.\nWhat is it?", None),
        ("?", None),
        ("<question>What is it?", None),
        ("What is it?</question>", None),
        ("< question >What is it?", None),
        ("<think>It has digits.</think> What is it?", None),
        ('{"question": "What is it?', None),
        ("I write it inside <question>: <question>What is it?</question>", "What is it?"),
        ("<question> \n </question>", None),
        ("<question>?</question>", None),
        ("<question>1 + 1 = ?</question>", "1 + 1 = ?"),
        ("<question>One?</question><question>Two?</question>", None),
        ("", None),
    ],
)
def test_parse_question(text: str, question: str | None) -> None:
    assert parse_question(text) == question


def test_prompts_put_the_image_first_and_the_question_last() -> None:
    for messages in (solver_messages("Why is the sky blue?"), proposer_messages()):
        (message,) = messages
        assert message["role"] == "user"
        assert [part["type"] for part in message["content"]] == ["image", "text"]
    assert solver_messages("Why is the sky blue?")[0]["content"][1]["text"].endswith("Why is the sky blue?")
