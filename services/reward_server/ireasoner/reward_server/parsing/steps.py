"""The steps of a rollout's thinking: step elements, list items, code blocks, equations and sentences."""

import re
from collections.abc import Iterator
from functools import cached_property

from ireasoner.reward_server.parsing.layout import blocks
from ireasoner.reward_server.parsing.numbering import INLINE_STYLES, inline_markers, marker_of, may_count
from ireasoner.reward_server.parsing.outline import Outline, Part
from ireasoner.reward_server.parsing.sentences import language_of, sentences
from ireasoner.reward_server.parsing.tags import Tags

_BOLD_MARK = re.compile(r"\*\*(?![A-Za-z0-9_(])|(?<![A-Za-z0-9_)])\*\*")
"""Two asterisks that are no power such as `2**3`."""


def read_steps(thinking: str, tags: Tags) -> Iterator[str]:
    """The steps in `thinking`, without their numbers, white space folded; none is empty.

    A step is a step element, an item of an outer list, a block of code, a stack of equations, or a sentence of the
    prose before, between and after them.
    """
    reader = _Reader(thinking)
    for text, is_element in _elements(thinking, tags) if "<" in thinking else [(thinking, False)]:
        for step in [_without_number(text)] if is_element else reader.steps(text):
            if folded := fold(step, tags):
                yield folded


def fold(step: str, tags: Tags) -> str:
    """A step on one line, without stray tags, bold type, outer emphasis and extra white space."""
    if "<" in step:
        step = tags.any_tag.sub(" ", step)
    if "**" in step:
        step = _BOLD_MARK.sub("", step)
    if "  " in step or not step.isprintable():  # the space is the only white space that is printable
        step = " ".join(step.split())
    return step.strip("* ")


def _elements(thinking: str, tags: Tags) -> Iterator[tuple[str, bool]]:
    """The step elements, True, and the texts around them, False; an element that is not closed ends at the next."""
    end = 0
    openings = list(tags.step_open.finditer(thinking))
    limits = [following.start() for following in openings[1:]] + [len(thinking)]
    for opening, limit in zip(openings, limits[: len(openings)], strict=True):
        yield tags.any_tag.sub("\n", thinking[end : opening.start()]), False
        closing = tags.step_close.search(thinking, opening.end(), limit)
        yield thinking[opening.end() : closing.start() if closing else limit], True
        end = closing.end() if closing else limit
    yield tags.any_tag.sub("\n", thinking[end:]), False


def _without_number(step: str) -> str:
    number = marker_of(step.lstrip())
    return step.lstrip()[number.end :] if number else step


class _Reader:
    """Cuts text into steps; it guesses the language of all of `thinking` once, when it first meets prose."""

    def __init__(self, thinking: str) -> None:
        self._thinking = thinking

    def steps(self, text: str) -> Iterator[str]:
        """The steps of `text`, white space as it is."""
        for part in Outline().parts(blocks(text)):
            if part.kind == "prose":
                yield from self._prose(part.text)
            elif part.kind == "item":
                yield from self._item(part)
            else:
                yield part.text

    @cached_property
    def _language(self) -> str:
        return language_of(self._thinking)

    def _sentences(self, text: str) -> list[str]:
        return list(sentences(text, self._language))

    def _prose(self, text: str) -> Iterator[str]:
        """Sentences, and the items of a list within the line: `I need to: 1) read 2) add`."""
        for style in INLINE_STYLES if may_count(text, 1) else ():
            first, *items = _numbered_within(text, style, 1)
            if len(items) > 1:
                yield from self._sentences(first)
                yield from self._shortened(items)
                return
        yield from self._sentences(text)

    def _item(self, part: Part) -> Iterator[str]:
        """An item, or several if the count goes on within its line: `1) read 2) add`."""
        if part.marker is None:
            yield part.text
            return
        following = part.next_marker
        limit = following.number if following and following.style == part.marker.style else None
        items = _numbered_within(part.head, part.marker.style, part.marker.number + 1, limit)
        if len(items) > 1 and following is None and part.text == f"{part.head}":
            yield from self._shortened(items)
        else:
            yield from items[:-1]
            yield items[-1] + part.text[len(part.head) :]

    def _shortened(self, items: list[str]) -> Iterator[str]:
        """The items of a line; the last has as many sentences as the longest of the others, and then prose follows."""
        longest = max(len(self._sentences(item)) for item in items[:-1]) or 1
        line, _, below = items[-1].partition("\n")
        last = self._sentences(line)
        yield from items[:-1]
        yield " ".join(last[:longest])
        yield from last[longest:]
        yield from self._sentences(below)


def _numbered_within(text: str, style: str, number: int, limit: int | None = None) -> list[str]:
    """`text` cut where it counts on from `number` in the same style, up to before `limit`; the first part may be empty.

    A number that closes a bracket counts nothing: `(see 3)`.
    """
    parts: list[str] = []
    start = seen = depth = 0
    if not may_count(text, number):
        return [text]
    for found, begin, end in inline_markers(style, text):
        depth += _opened(text, seen, begin)
        seen = begin
        closes = style == "bracket" and depth > 0
        if found == number and number != limit and not closes:
            parts.append(text[start:begin])
            start = seen = end
            number, depth = number + 1, 0
    return [*parts, text[start:]]


def _opened(text: str, start: int, end: int) -> int:
    """How many more brackets are opened than closed between two indices."""
    return text.count("(", start, end) - text.count(")", start, end)
