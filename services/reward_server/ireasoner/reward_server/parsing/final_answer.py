"""Where a rollout's answer is: in its element, in a box, or stated in words."""

import re
from typing import NamedTuple

from ireasoner.reward_server.parsing.boxed import last_box
from ireasoner.reward_server.parsing.stated import bare_last_line, few_words, stated_answer, with_introduction
from ireasoner.reward_server.parsing.tags import Tags
from ireasoner.reward_server.scoring_config import AnswerFrom
from ireasoner.reward_server.wire import FinishReason

_MATH_OPENS = re.compile(r"(?:\$\$?|\\\[|\\\()\s*$")
_LONGEST_CUT = 64
"""More than any closing tag has characters."""


class FoundAnswer(NamedTuple):
    """Where the answer begins, with its tag or introduction, and its content; None if the text was cut off in it."""

    start: int
    content: str | None


def find_answer(
    text: str, thinking_end: int, tags: Tags, source: AnswerFrom, finish: FinishReason | None
) -> FoundAnswer | None:
    """The answer after the thinking, or else anywhere.

    `thinking_end` is the index after the closing tag of the thinking, 0 if there is none. `finish` says why the
    completion ended. After `stop` an answer element without a closing tag is whole: inference servers leave a stop
    string such as `</answer>` out of the text. After `length` an answer stated at the very end may lack a part.
    Without it, a tag that was begun (`</ans`) shows that the answer is whole, and one that is missing that it is not.
    """
    for after in (thinking_end, 0) if thinking_end else (0,):
        found = _after(text, after, tags, source, finish)
        if found is not None:
            return found
    if source == "any" and finish != "length" and (words := few_words(text, thinking_end)) is not None:
        return FoundAnswer(words.start, words.answer)
    return None


def _after(
    text: str, after: int, tags: Tags, source: AnswerFrom, finish: FinishReason | None
) -> FoundAnswer | None:
    if source != "boxed" and (element := _in_element(text, after, tags, finish)) is not None:
        return element._replace(start=with_introduction(text, after, element.start))
    if source != "tag" and (box := last_box(text, after)) is not None:
        opening = _MATH_OPENS.search(text, max(after, box.start - _LONGEST_CUT), box.start)
        start = opening.start() if opening else box.start
        return FoundAnswer(with_introduction(text, after, start), box.content)
    if source != "any":
        return None
    stated = stated_answer(text, after, cut_off=finish == "length")
    if (stated is None or stated.is_weak) and finish != "length":
        stated = bare_last_line(text, after) or stated
    return None if stated is None else FoundAnswer(stated.start, stated.answer)


def _in_element(text: str, after: int, tags: Tags, finish: FinishReason | None) -> FoundAnswer | None:
    """The first answer element, to its closing tag, or to the part of one with which the text ends."""
    opening = tags.answer_open.search(text, after)
    if opening is None:
        return None
    closing = tags.answer_close.search(text, opening.end())
    if closing is None:
        closing = tags.answer_close_cut.search(text, max(opening.end(), len(text) - _LONGEST_CUT))
    if closing is None and finish != "stop":
        return FoundAnswer(opening.start(), None)
    inner, end = opening.end(), len(text) if closing is None else closing.start()
    for nested in tags.answer_open.finditer(text, inner, end):
        inner = nested.end()
    return FoundAnswer(opening.start(), text[inner:end])
