"""Labelled questions: a JSON-lines file with paths of images."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ireasoner.compat.flags import did_you_mean
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

_REQUIRED = ("image", "question", "answer")
_OPTIONAL = ("type", "choices", "matching")
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
        line: Its line in the file, from 1; 0 if it comes from no file.
    """

    image: Path
    text: str
    answer: str
    kind: str = "all"
    matching: Matching = "exact"
    choices: tuple[str, ...] = ()
    line: int = 0

    @property
    def prompt(self) -> str:
        """The question, followed by one line per option with its letter."""
        options = [f"{letter(i).upper()}. {choice}" for i, choice in enumerate(self.choices)]
        return "\n".join([self.text, *options])

    @property
    def spellings(self) -> list[str]:
        """The true answer; that to a multiple-choice question as its letter and as its text."""
        if self.matching != "choice":
            return [self.answer]
        right = option(self.answer, self.choices)
        named = {letter(index): choice for index, choice in enumerate(self.choices)}
        return [right.upper(), named[right]] if right in named else [self.answer]

    def is_right(self, answer: str) -> bool:
        """Whether an answer matches the true one."""
        return matches(answer, self.answer, self.matching, self.choices)

    def vote(self, answer: str) -> str:
        """The key of an answer in a majority vote."""
        return vote(answer, self.matching, self.choices)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a file that is no question.

    Attributes:
        line: Its number, from 1.
        reason: What is wrong with it.
    """

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def read_questions(path: Path, matching: Matching = "exact") -> list[Question]:
    """Reads a file as `scan_questions` does, and refuses it if any line is bad.

    Raises:
        ImagesError: The file cannot be read, has no question, or has a bad line; the message names the line.
    """
    questions, bad = scan_questions(path, matching)
    if bad:
        raise ImagesError(f"questions: {path}, {bad[0]}")
    return questions


def scan_questions(
    path: Path, matching: Matching = "exact", limit: int | None = None
) -> tuple[list[Question], list[BadLine]]:
    """Reads lines of `{"image", "question", "answer", "type"?, "choices"?, "matching"?}`.

    Args:
        path: The file; image paths are relative to it.
        matching: The rule for lines without `matching`; lines with `choices` match by choice.
        limit: Number of questions after which reading ends; None reads all.

    Returns:
        The questions, and the lines before the last of them that are none.

    Raises:
        ImagesError: The file cannot be read, or has no question.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImagesError(f"questions: {path} cannot be read: {error.strerror}") from error
    questions: list[Question] = []
    bad: list[BadLine] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if len(questions) == limit:
            break
        if line.strip():
            try:
                questions.append(_question(json.loads(line), number, path.parent, matching))
            except (ValueError, RecursionError) as error:
                bad.append(BadLine(number, str(error)))
    if not questions:
        reason = f"has no question: {bad[0]}" if bad else "is empty"
        raise ImagesError(f"questions: {path} {reason}")
    return questions, bad


def parse_answer(text: str) -> str | None:
    """The text of a rollout's last `<answer>` element; None if there is none or it is empty."""
    found = _ANSWER.findall(text)
    return found[-1] if found and normalise(found[-1]) else None


def _question(row: Any, line: int, folder: Path, matching: Matching) -> Question:
    """The question of a line.

    Raises:
        ValueError: The line is no question.
    """
    if not isinstance(row, dict):
        raise ValueError(f"not a JSON object: {json.dumps(row)[:80]}")  # noqa: TRY004  a fault of the file
    for name in _REQUIRED:
        if name not in row:
            unknown = sorted(row.keys() - {*_REQUIRED, *_OPTIONAL})
            raise ValueError(f"{name} is missing{did_you_mean(name, unknown)}")
    for name in ("image", "question"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"{name} must be a string, not {row[name]!r}")
    if not isinstance(row["answer"], str | int | float) or not str(row["answer"]).strip():
        raise ValueError(f"answer must be a string or a number, not {row['answer']!r}")
    choices = _choices(row.get("choices") or [])
    question = Question(
        image=folder / row["image"],
        text=row["question"],
        answer=str(row["answer"]),
        kind=str(row.get("type", "all")),
        matching=row.get("matching", "choice" if choices else matching),
        choices=choices,
        line=line,
    )
    if question.matching not in get_args(Matching):
        known = get_args(Matching)
        raise ValueError(f"matching must be one of {', '.join(known)}, not {question.matching!r}")
    if question.matching == "choice":
        named = option(question.answer, question.choices)
        count = len(choices) or MAX_OPTIONS
        if named not in {letter(i) for i in range(count)}:
            raise ValueError(f"answer names none of the options: {question.answer!r}")
    if not question.image.is_file():
        raise ValueError(f"{question.image} does not exist")
    return question


def _choices(choices: object) -> tuple[str, ...]:
    if not isinstance(choices, list) or not all(isinstance(choice, str | int | float) for choice in choices):
        raise ValueError(f"choices must be a list of strings, not {choices!r}")
    if len(choices) == 1 or len(choices) > MAX_OPTIONS:
        raise ValueError(f"choices must have 2 to {MAX_OPTIONS} options, not {len(choices)}")
    return tuple(map(str, choices))
