"""The judge of a rollout: its prompt, and the score in its reply."""

import re

from ireasoner.trainer.rollouts.prompts import Message, image_turn

JUDGE_INSTRUCTIONS = (
    "Judge the reply to the question about the image: is its answer right, and does each step follow from the image? "
    "First reason in numbered steps, one on each line, inside <think> and </think>. Then give only a score "
    "from 0 (wrong) to 1 (right), such as 0.7, inside <answer> and </answer>."
)

TEMPERATURE, TOP_P = 1.0, 0.9
"""How the judge is sampled, once per rollout: as in the code of arXiv 2603.21289."""

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_SCORE = re.compile(r"[01](\.[0-9]+)?|\.[0-9]+")


def judge_messages(question: str, reply: str) -> list[Message]:
    """One user turn: the image, the instructions, the question, and the rollout's whole text."""
    return [image_turn(f"{JUDGE_INSTRUCTIONS}\nQuestion: {question}\nReply: {reply}")]


def parse_score(text: str) -> float | None:
    """The score in a judge's reply, in [0, 1]; None unless its only `<answer>` is a decimal number in that range."""
    found = _ANSWER.findall(text)
    if len(found) != 1 or _SCORE.fullmatch(written := found[0].strip()) is None:
        return None
    score = float(written)
    return score if score <= 1 else None
