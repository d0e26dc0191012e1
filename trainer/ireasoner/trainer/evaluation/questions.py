"""Labelled questions, and the JSON-lines file that holds them with paths of images."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image

from ireasoner.compat.spelling import did_you_mean
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.evaluation.bare_answer import bare, result_of
from ireasoner.trainer.evaluation.columns import QuestionColumns
from ireasoner.trainer.evaluation.matching import (
    MAX_OPTIONS,
    Matching,
    letter,
    matches,
    normalise,
    option,
    vote,
)
from ireasoner.trainer.images import read_image

Unit = Literal["line", "row"]
"""What an index in a file of questions counts: lines from 1, or rows of a dataset from 0."""

_REQUIRED = ("image", "question", "answer")
_SHOWN_CHARACTERS = 120
_ANSWER = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image, with its true answer.

    Attributes:
        image: Path of the image; of one in a dataset, the dataset and its row.
        text: The question.
        answer: The true answer.
        kind: Kind of question; figures are also given by kind.
        matching: The rule by which an answer counts as right.
        choices: Texts of the options of a multiple-choice question; empty for any other.
        line: Its line in the file, from 1, or its row in a dataset, from 0; 0 if it comes from neither.
        unit: Which of the two.
        load: Reads an image that is not a file of its own; raises UnreadableImageError.
    """

    image: Path
    text: str
    answer: str
    kind: str = "all"
    matching: Matching = "exact"
    choices: tuple[str, ...] = ()
    line: int = 0
    unit: Unit = "line"
    load: Callable[[], Image.Image] | None = field(default=None, compare=False, repr=False)

    @property
    def index(self) -> str:
        """Where it comes from, for messages: `line 3`, `row 3`."""
        return f"{self.unit} {self.line}"

    def picture(self) -> Image.Image:
        """The image, RGB.

        Raises:
            UnreadableImageError: It cannot be read.
        """
        return read_image(self.image) if self.load is None else self.load()

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
        return matches(self._meant(answer), self.answer, self.matching, self.choices)

    def vote(self, answer: str) -> str:
        """The key of an answer in a majority vote."""
        return vote(self._meant(answer), self.matching, self.choices)

    def _meant(self, answer: str) -> str:
        """An answer; of a calculation its result, unless the true answer or an option is an equation."""
        result = result_of(answer)
        if result != answer and any("=" in bare(each) for each in (self.answer, *self.choices)):
            return answer
        return result


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line of a file, or a row of a dataset, that is no question.

    Attributes:
        line: Its number; see `Question.line`.
        reason: What is wrong with it.
        unit: Whether it is a line or a row.
    """

    line: int
    reason: str
    unit: Unit = "line"

    def __str__(self) -> str:
        return f"{self.unit} {self.line}: {self.reason}"


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
    path: Path,
    matching: Matching = "exact",
    limit: int | None = None,
    columns: QuestionColumns = QuestionColumns(),  # noqa: B008  frozen
) -> tuple[list[Question], list[BadLine]]:
    """Reads lines of `{"image", "question", "answer", "type"?, "choices"?, "matching"?}`.

    Args:
        path: The file; image paths are relative to it.
        matching: The rule for lines without `matching`; lines with `choices` match by choice.
        limit: Number of questions after which reading ends; None reads all.
        columns: The names under which a line holds what, where they are other ones.

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
                questions.append(_of_line(json.loads(line), number, path.parent, matching, columns))
            except (ValueError, RecursionError) as error:
                bad.append(BadLine(number, str(error)))
    if not questions:
        reason = f"has no question: {bad[0]}" if bad else "is empty"
        raise ImagesError(f"questions: {path} {reason}")
    return questions, bad


def parse_answer(text: str) -> str | None:
    """The text of a rollout's last `<answer>` element; None if there is none or it is empty.

    An opening tag that is only mentioned begins none: `inside <answer>: <answer>7</answer>`.
    """
    found = _ANSWER.findall(text)
    return found[-1] if found and normalise(found[-1]) else None


def _of_line(row: Any, line: int, folder: Path, matching: Matching, columns: QuestionColumns) -> Question:
    """The question of a line.

    Raises:
        ValueError: The line is no question.
    """
    if not isinstance(row, dict):
        raise ValueError(f"not a JSON object: {json.dumps(row)[:80]}")  # noqa: TRY004  a fault of the file
    question = question_of(row, columns, folder, matching, line)
    if not question.image.is_file():
        raise ValueError(f"{question.image} does not exist")
    return question


def question_of(
    row: dict[str, Any],
    columns: QuestionColumns,
    folder: Path,
    matching: Matching,
    line: int,
    unit: Unit = "line",
    load: Callable[[], Image.Image] | None = None,
) -> Question:
    """The question that a row holds; whether its image is there is not asked.

    Args:
        row: The row.
        columns: The names under which it holds what.
        folder: The folder that the image's path is relative to.
        matching: The rule if it names none and has no options.
        line: Its index.
        unit: What the index counts.
        load: Reads its image, if that is no file of its own.

    Raises:
        ValueError: It is no question.
    """
    names, held = columns.names(), columns.read(row)
    for field_name in _REQUIRED:
        if field_name not in held:
            unknown = sorted(row.keys() - set(names.values()))
            raise ValueError(f"{names[field_name]} is missing{did_you_mean(names[field_name], unknown)}")
    for field_name in ("image", "question"):
        if not isinstance(held[field_name], str) or not held[field_name].strip():
            raise ValueError(f"{names[field_name]} must be a string, not {_short(held[field_name])}")
    choices = _choices(held.get("choices") or [], names["choices"])
    question = Question(
        image=folder / held["image"],
        text=held["question"],
        answer=_answer(held["answer"], names["answer"]),
        kind=str(held.get("type", "all")),
        matching=held.get("matching", "choice" if choices else matching),
        choices=choices,
        line=line,
        unit=unit,
        load=load,
    )
    if question.matching not in get_args(Matching):
        known = get_args(Matching)
        raise ValueError(f"matching must be one of {', '.join(known)}, not {question.matching!r}")
    if question.matching == "choice":
        named = option(question.answer, question.choices)
        count = len(choices) or MAX_OPTIONS
        if named not in {letter(i) for i in range(count)}:
            raise ValueError(f"{names['answer']} names none of the options: {question.answer!r}")
    return question


def _answer(answer: object, name: str) -> str:
    """The true answer; that in a list of one is taken."""
    if isinstance(answer, list) and len(answer) == 1:
        [answer] = answer
    if not isinstance(answer, str | int | float) or not str(answer).strip():
        raise ValueError(f"{name} must be a string or a number, not {_short(answer)}")
    return str(answer)


def _choices(choices: object, name: str) -> tuple[str, ...]:
    if not isinstance(choices, list) or not all(isinstance(choice, str | int | float) for choice in choices):
        raise ValueError(f"{name} must be a list of strings, not {_short(choices)}")
    if len(choices) == 1 or len(choices) > MAX_OPTIONS:
        raise ValueError(f"{name} must have 2 to {MAX_OPTIONS} options, not {len(choices)}")
    return tuple(map(str, choices))


def _short(value: object) -> str:
    """A value for a message; the bytes of an image are many."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
