"""Reads a rollout's raw text: its answer, its steps and its number of words."""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ireasoner.reward_server.answers.normalise import normalise_answer
from ireasoner.reward_server.parsing.steps import fold, read_steps
from ireasoner.reward_server.parsing.tags import Tags, tags_named
from ireasoner.reward_server.scoring_config import PAPER, ScoringConfig

PARSER_VERSION = "2"
"""Part of the fingerprint. Raise it with every change that can make any text read differently."""

Flaw = Literal["no_answer", "empty_answer", "answer_not_closed"]

_BOXED = "\\boxed{"
_STATED = re.compile(
    r"\banswer[*_]{0,3}(?:[ \t]+is\b|[ \t]*[:=])[*_]{0,3}[ \t]*:?(?P<answer>[^\n]*)", re.IGNORECASE
)


class ParsedRollout(NamedTuple):
    """What a rollout says.

    `answer` is normalised; it is None exactly if there is a `flaw`. `written` is the answer as it was written,
    white space folded. `words` is the number of whitespace-separated words before the answer, tags included.
    """

    answer: str | None
    written: str | None
    flaw: Flaw | None
    steps: tuple[str, ...]
    words: int

    def limited_to(self, max_steps: int) -> "ParsedRollout":
        """The same with its first `max_steps` steps."""
        return self if len(self.steps) <= max_steps else self._replace(steps=self.steps[:max_steps])


class _FoundAnswer(NamedTuple):
    """Where the answer begins, including its tag, and its content; None if it is not closed."""

    start: int
    content: str | None


def parse_text(text: str, config: ScoringConfig = PAPER) -> ParsedRollout:
    """Reads raw text of the form `<think>numbered steps</think><answer>short answer</answer>`.

    The answer is the first answer element after the thinking, or what `answer_from` names instead. Thinking
    without an opening tag starts with the text; thinking without a closing tag ends at the answer. A rollout has
    a flaw if it has no answer, or one that is empty or was cut off before its closing tag.
    """
    tags = tags_named(config.think_tag, config.answer_tag, config.step_tag)
    found = _find_answer(text, tags, config)
    before = text if found is None else text[: found.start]
    if found is None:
        answer, written, flaw = _normalised(None)
    elif found.content is None:
        answer, written, flaw = None, None, "answer_not_closed"
    else:
        answer, written, flaw = _normalised(found.content)
    return ParsedRollout(
        answer, written, flaw, read_steps(_thinking(before, tags), tags), len(before.split())
    )


def parsed_before(answer: str | None, steps: Sequence[str], config: ScoringConfig = PAPER) -> ParsedRollout:
    """A rollout that its sender parsed; its words are those of its steps."""
    tags = tags_named(config.think_tag, config.answer_tag, config.step_tag)
    kept = tuple(folded for step in steps if (folded := fold(step, tags)))
    return ParsedRollout(*_normalised(answer), kept, sum(len(step.split()) for step in kept))


def _find_answer(text: str, tags: Tags, config: ScoringConfig) -> _FoundAnswer | None:
    ends = [close.end() for close in tags.think_close.finditer(text)]
    after = ends[-1] if ends else 0
    found = None
    if config.answer_from in ("tag", "any"):
        found = _in_element(text, after, tags)
    if found is None and config.answer_from in ("boxed", "any"):
        found = _in_box(text, after)
    if found is None and config.answer_from == "any":
        found = _stated(text, after)
    return found


def _in_element(text: str, after: int, tags: Tags) -> _FoundAnswer | None:
    opening = tags.answer_open.search(text, after) or tags.answer_open.search(text)
    if opening is None:
        return None
    closing = tags.answer_close.search(text, opening.end())
    if closing is None:
        return _FoundAnswer(opening.start(), None)
    inner = opening.end()
    for nested in tags.answer_open.finditer(text, inner, closing.start()):
        inner = nested.end()
    return _FoundAnswer(opening.start(), text[inner : closing.start()])


def _in_box(text: str, after: int) -> _FoundAnswer | None:
    """The last `\\boxed{}` after the thinking, or else the last one anywhere."""
    start = text.rfind(_BOXED, after)
    start = start if start >= 0 else text.rfind(_BOXED)
    if start < 0:
        return None
    depth, inner = 1, start + len(_BOXED)
    for brace in re.finditer(r"[{}]", text[inner:]):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return _FoundAnswer(start, text[inner : inner + brace.start()])
    return _FoundAnswer(start, None)


def _stated(text: str, after: int) -> _FoundAnswer | None:
    """The last `answer: ...` or `answer is ...` after the thinking, to the end of its line."""
    stated = list(_STATED.finditer(text, after))
    return _FoundAnswer(stated[-1].start(), stated[-1]["answer"]) if stated else None


def _normalised(answer: str | None) -> tuple[str | None, str | None, Flaw | None]:
    if answer is None:
        return None, None, "no_answer"
    normal = normalise_answer(answer)
    return (normal, " ".join(answer.split()), None) if normal else (None, None, "empty_answer")


def _thinking(before: str, tags: Tags) -> str:
    opening = tags.think_open.search(before)
    closings = list(tags.think_close.finditer(before, opening.end() if opening else 0))
    thinking = before[opening.end() if opening else 0 : closings[-1].start() if closings else len(before)]
    if "<" not in thinking:
        return thinking
    return tags.think_close.sub("\n", tags.think_open.sub("\n", thinking))  # tags of nested thinking
