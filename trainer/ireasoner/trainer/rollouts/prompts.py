"""The two prompts, in chat form: what the Solver and the Proposer are asked, and how a question is read back.

The warm start of the tiny model and the trainer use these same words, so that what was learnt before
reinforcement learning is what is asked for during it.
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

_QUESTION = re.compile(r"<question>(.*?)</question>", re.DOTALL | re.IGNORECASE)


def solver_messages(question: str) -> list[Message]:
    """One user turn: the image, the instructions, then the question on a line of its own."""
    return [_image_turn(f"{SOLVER_INSTRUCTIONS}\nQuestion: {question}")]


def proposer_messages() -> list[Message]:
    """One user turn: the image, then the request for a question about it."""
    return [_image_turn(PROPOSER_INSTRUCTIONS)]


def text_of(messages: str | Sequence[Message]) -> str:
    """What messages say in words; a text is itself."""
    if isinstance(messages, str):
        return messages
    contents = [message["content"] for message in messages]
    return "\n".join(
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        for content in contents
    )


def parse_question(text: str) -> str | None:
    """The question in a Proposer's completion, white space folded; None where there is none.

    A completion holds a question when it has exactly one `<question>` element and that is not empty: two
    elements would leave it to us to choose.
    """
    found = _QUESTION.findall(text)
    if len(found) != 1:
        return None
    question = " ".join(found[0].split())
    return question or None


def _image_turn(text: str) -> Message:
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
