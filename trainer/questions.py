"""Labelled questions for evaluation: a JSON-lines file beside its images."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import ImagesError

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_OUTER = re.compile(r"^[\s.,;:!?\"'()\[\]]+|[\s.,;:!?\"'()\[\]]+$")


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image, with its true answer.

    Attributes:
        image: Path of the image.
        text: The question.
        answer: The true answer.
        kind: What sort of question it is; figures are also given by kind.
    """

    image: Path
    text: str
    answer: str
    kind: str


def read_questions(path: Path) -> list[Question]:
    """Reads lines of `{"image": ..., "question": ..., "answer": ..., "type"?: ...}`; images relative to the file.

    Raises:
        ImagesError: The file is missing or empty, or a line is not of that form; the message names the line.
    """
    if not path.is_file():
        raise ImagesError(f"questions: there is no file {path}")
    questions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            question = Question(
                image=path.parent / row["image"],
                text=str(row["question"]),
                answer=str(row["answer"]),
                kind=str(row.get("type", "all")),
            )
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ImagesError(f"questions: {path}, line {number}: {type(error).__name__}: {error}") from error
        if not question.image.is_file():
            raise ImagesError(f"questions: {path}, line {number}: there is no image {question.image}")
        questions.append(question)
    if not questions:
        raise ImagesError(f"questions: {path} is empty")
    return questions


def parse_answer(text: str) -> str | None:
    """The normalised answer of a rollout's last `<answer>` element; None where there is none, or an empty one."""
    found = _ANSWER.findall(text)
    return normalise(found[-1]) or None if found else None


def normalise(answer: str) -> str:
    """Lower case, thousands separators and outer punctuation dropped, white space folded."""
    folded = " ".join(_THOUSANDS.sub("", answer.lower()).split())
    return _OUTER.sub("", folded)
