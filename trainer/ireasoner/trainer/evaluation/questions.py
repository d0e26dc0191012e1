"""Labelled questions: a JSON-lines file with paths of images."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.evaluation.matching import (
    MAX_OPTIONS,
    Matching,
    letter,
    matches,
    normalise,
    option,
    vote,
)

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image, with its true answer.

    Attributes:
        image: Path of the image.
        text: The question.
        answer: The true answer.
        kind: Kind of question; figures are also given by kind.
        matching: The rule by which an answer counts as right.
        choices: Texts of the options of a multiple-choice question; empty for any other.
    """

    image: Path
    text: str
    answer: str
    kind: str = "all"
    matching: Matching = "exact"
    choices: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """The question, followed by one line per option with its letter."""
        options = [f"{letter(i).upper()}. {choice}" for i, choice in enumerate(self.choices)]
        return "\n".join([self.text, *options])

    def is_right(self, answer: str) -> bool:
        """Whether an answer matches the true one."""
        return matches(answer, self.answer, self.matching, self.choices)

    def vote(self, answer: str) -> str:
        """The key of an answer in a majority vote."""
        return vote(answer, self.matching, self.choices)


def read_questions(path: Path, matching: Matching = "exact") -> list[Question]:
    """Reads lines of `{"image", "question", "answer", "type"?, "choices"?, "matching"?}`.

    Args:
        path: The file; image paths are relative to it.
        matching: The rule for lines without `matching`; lines with `choices` match by choice.

    Raises:
        ImagesError: The file is missing or empty, or a line is invalid; the message names the line.
    """
    if not path.is_file():
        raise ImagesError(f"questions: {path} does not exist")
    questions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            question = _question(json.loads(line), path.parent, matching)
        except (KeyError, TypeError, ValueError) as error:
            raise ImagesError(f"questions: {path}, line {number}: {type(error).__name__}: {error}") from error
        if not question.image.is_file():
            raise ImagesError(f"questions: {path}, line {number}: {question.image} does not exist")
        questions.append(question)
    if not questions:
        raise ImagesError(f"questions: {path} is empty")
    return questions


def parse_answer(text: str) -> str | None:
    """The text of a rollout's last `<answer>` element; None if there is none or it is empty."""
    found = _ANSWER.findall(text)
    return found[-1] if found and normalise(found[-1]) else None


def _question(row: dict[str, Any], folder: Path, matching: Matching) -> Question:
    if not isinstance(row["answer"], str | int | float):
        raise TypeError(f"answer must be a string or a number, not {row['answer']!r}")
    choices = row.get("choices", [])
    if not isinstance(choices, list) or not all(isinstance(c, str | int | float) for c in choices):
        raise TypeError(f"choices must be a list of strings, not {choices!r}")
    if len(choices) == 1 or len(choices) > MAX_OPTIONS:
        raise ValueError(f"choices must have 2 to {MAX_OPTIONS} options, not {len(choices)}")
    question = Question(
        image=folder / row["image"],
        text=str(row["question"]),
        answer=str(row["answer"]),
        kind=str(row.get("type", "all")),
        matching=row.get("matching", "choice" if choices else matching),
        choices=tuple(map(str, choices)),
    )
    if question.matching not in get_args(Matching):
        raise ValueError(
            f"matching must be one of {', '.join(get_args(Matching))}, not {question.matching!r}"
        )
    if question.matching == "choice":
        named = option(question.answer, question.choices)
        count = len(choices) or MAX_OPTIONS
        if named not in {letter(i) for i in range(count)}:
            raise ValueError(f"answer names none of the options: {question.answer!r}")
    return question
