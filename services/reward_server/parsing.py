"""What a rollout says: its answer, its steps and its number of words, read from its raw text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from services.reward_server.answers import normalise_answer

PARSER_VERSION = "1"
"""Part of the fingerprint: raised with every change that can give any text another reading."""

Flaw = Literal["no_answer", "empty_answer", "answer_not_closed"]

_ANSWER_OPEN = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_CLOSE = re.compile(r"</answer>", re.IGNORECASE)
_THINK_OPEN = re.compile(r"<think>", re.IGNORECASE)
_THINK_CLOSE = re.compile(r"</think>", re.IGNORECASE)
_STEP_OPEN = re.compile(r"<step(?:\s[^<>]*)?>", re.IGNORECASE)
_STEP_CLOSE = re.compile(r"</step>", re.IGNORECASE)
_STEP_NUMBER = re.compile(
    r"""[ \t]*
    (?:[-*+•>#]{1,6}[ \t]+)?            # a list item, a heading
    [*_]{0,3}                           # bold
    (?:
        step[ \t]*\d{1,2}(?!\w|\.\d)[*_ \t]*[.):\-–—]?     # Step 1:
      | \(?\d{1,2}[.):](?!\d)                              # 1.  1)  (1)  1:  but neither 3.5 nor 12:30
    )
    [*_]{0,3}[ \t]*""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ParsedRollout:
    """What a rollout says. `answer` is normalised, and None exactly if there is a `flaw`.

    `words` is the number of whitespace-separated words before the answer, tags counted.
    """

    answer: str | None
    flaw: Flaw | None
    steps: tuple[str, ...]
    words: int

    def limited_to(self, max_steps: int) -> "ParsedRollout":
        """The same with its first `max_steps` steps."""
        return self if len(self.steps) <= max_steps else replace(self, steps=self.steps[:max_steps])


def parse_text(text: str) -> ParsedRollout:
    """Reads raw text of the form `<think>numbered steps</think><answer>short answer</answer>`.

    The answer is the first `<answer>` element after the thinking. Steps are the `<step>` elements of the
    thinking, or else its numbered lines, each with the lines that follow it. Thinking that is not opened
    starts with the text; thinking that is not closed ends at the answer.
    """
    opening = _answer_opening(text)
    before = text if opening is None else text[: opening.start()]
    answer, flaw = _read_answer(text, opening)
    return ParsedRollout(answer, flaw, _read_steps(_thinking(before)), len(before.split()))


def parsed_before(answer: str | None, steps: Sequence[str]) -> ParsedRollout:
    """A rollout that its sender has parsed; its words are those of its steps."""
    normal, flaw = _normalised(answer)
    kept = tuple(folded for step in steps if (folded := _fold(step)))
    return ParsedRollout(normal, flaw, kept, sum(len(step.split()) for step in kept))


def _answer_opening(text: str) -> re.Match[str] | None:
    ends = [close.end() for close in _THINK_CLOSE.finditer(text)]
    return (_ANSWER_OPEN.search(text, ends[-1]) if ends else None) or _ANSWER_OPEN.search(text)


def _read_answer(text: str, opening: re.Match[str] | None) -> tuple[str | None, Flaw | None]:
    if opening is None:
        return None, "no_answer"
    closing = _ANSWER_CLOSE.search(text, opening.end())
    if closing is None:
        return None, "answer_not_closed"
    return _normalised(text[opening.end() : closing.start()])


def _normalised(answer: str | None) -> tuple[str | None, Flaw | None]:
    if answer is None:
        return None, "no_answer"
    normal = normalise_answer(answer)
    return (normal, None) if normal else (None, "empty_answer")


def _thinking(before: str) -> str:
    opening = _THINK_OPEN.search(before)
    closings = list(_THINK_CLOSE.finditer(before, opening.end() if opening else 0))
    return before[opening.end() if opening else 0 : closings[-1].start() if closings else len(before)]


def _read_steps(thinking: str) -> tuple[str, ...]:
    elements = _step_elements(thinking)
    steps = elements if elements else _numbered_lines(thinking)
    return tuple(folded for step in steps if (folded := _fold(step)))


def _step_elements(thinking: str) -> list[str]:
    openings = list(_STEP_OPEN.finditer(thinking))
    limits = [following.start() for following in openings[1:]] + [len(thinking)]
    steps = []
    for opening, limit in zip(openings, limits[: len(openings)], strict=True):
        closing = _STEP_CLOSE.search(thinking, opening.end(), limit)
        step = thinking[opening.end() : closing.start() if closing else limit]
        number = _STEP_NUMBER.match(step)
        steps.append(step[number.end() :] if number else step)
    return steps


def _numbered_lines(thinking: str) -> list[str]:
    steps: list[str] = []
    for line in thinking.splitlines():
        number = _STEP_NUMBER.match(line)
        if number:
            steps.append(line[number.end() :])
        elif steps:
            steps[-1] += f"\n{line}"
    return steps


def _fold(step: str) -> str:
    return " ".join(step.split()).strip("* ")
