"""The prompt that asks the policy to put a question in other words."""

from ireasoner.trainer.rollouts.prompts import Message, image_turn

PARAPHRASE_INSTRUCTIONS = (
    "Put this question about the image in other words, so that its answer stays the same. "
    "Write only the new question, inside <question> and </question>."
)


def paraphrase_messages(question: str) -> list[Message]:
    """One user turn: the image, the instructions, then the question; `parse_question` reads the reply."""
    return [image_turn(f"{PARAPHRASE_INSTRUCTIONS}\nQuestion: {question}")]


def question_words(question: str) -> str:
    """The words of a question; two that differ in capitals, blanks or their last mark alone have the same."""
    return " ".join(question.casefold().split()).rstrip(" .?!")
