"""The prompts of both roles as chat messages, and the parser of the Proposer's question.

The warm start of the tiny model and the trainer share these prompts, so that reinforcement learning asks for what the
warm start taught.
"""

import re
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]
"""One chat message as transformers' chat templates take it: `role`, and `content` as a list of parts."""

SOLVER_INSTRUCTIONS = (
    "Answer the question about the image. First reason in numbered steps, one on each line, "
    "inside <think> and </think>. Then give only the short final answer inside <answer> and </answer>."
)
PROPOSER_INSTRUCTIONS = (
    "Ask one question about the image. It must be answerable from the image alone, take a few steps "
    "of reasoning, and have one short answer. Write only the question, inside <question> and </question>."
)

_QUESTION = re.compile(r"<question>((?:(?!<question>).)*?)</question>", re.DOTALL | re.IGNORECASE)
_BARE_QUESTION = re.compile(r"[^?？؟\n<>{}]+[?？؟]")


def solver_messages(question: str) -> list[Message]:
    """One user turn: the image, the instructions, then the question on a line of its own."""
    return [image_turn(f"{SOLVER_INSTRUCTIONS}\nQuestion: {question}")]


def proposer_messages() -> list[Message]:
    """One user turn: the image, then the request for a question about it."""
    return [image_turn(PROPOSER_INSTRUCTIONS)]


def text_of(messages: str | Sequence[Message]) -> str:
    """The text of messages; a string is returned unchanged."""
    if isinstance(messages, str):
        return messages
    contents = [message["content"] for message in messages]
    return "\n".join(
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        for content in contents
    )


def parse_question(text: str) -> str | None:
    """The question in a Proposer's completion, white space folded; None if there is not exactly one.

    A `<question>` without a letter or a digit is no question. Of two questions, choosing one would be arbitrary.
    Untrained models often write no tags: a completion without markup is a question if it is one line with one question
    mark, at its end.
    """
    found = _QUESTION.findall(text)
    if _BARE_QUESTION.fullmatch(text.strip()):
        found = [text]
    if len(found) != 1:
        return None
    question = " ".join(found[0].split())
    return question if any(map(str.isalnum, question)) else None


def image_turn(text: str) -> Message:
    """A user turn: the image, then the text."""
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
